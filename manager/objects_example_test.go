package manager_test

import (
	"context"
	"fmt"
	"time"

	"github.com/go-multiproc/multiproc/manager"
)

// local starts a manager for an example.
func local() *manager.Manager {
	m, err := manager.Start(manager.Options{})
	if err != nil {
		panic(err)
	}
	return m
}

// ok leaves the handling of errors out of an example.
func ok[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func ExampleDict_SetTTL() {
	ctx := context.Background()
	m := local()
	defer m.Close()
	sessions := ok(manager.NewDict[string, string](m))

	w := ok(sessions.Watch(ctx, "token")) // before it can be gone
	defer w.Close()
	if err := sessions.SetTTL(ctx, "token", "ada", 20*time.Millisecond); err != nil {
		fmt.Println(err)
	}
	news := ok(w.Next(ctx))
	for news.Present { // it has come
		news = ok(w.Next(ctx))
	}
	fmt.Println(news.Key, news.Present)
	// Output: token false
}

func ExampleSet() {
	ctx := context.Background()
	m := local()
	defer m.Close()
	today, yesterday := ok(manager.NewSet[string](m)), ok(manager.NewSet[string](m))
	ok(today.Add(ctx, "ada", "bob", "eve"))
	ok(yesterday.Add(ctx, "bob", "joe"))

	fresh := ok(today.Difference(ctx, yesterday)) // made by the server
	fmt.Println(fresh.Snapshot(ctx))
	fmt.Println(yesterday.Contains(ctx, "joe", "bob"))
	// Output:
	// [ada eve] <nil>
	// true <nil>
}

func ExampleNamespace() {
	ctx := context.Background()
	m := local()
	defer m.Close()
	type limits struct{ CPU, Memory int }
	settings := ok(manager.NewNamespace(m))

	if err := manager.NamespaceSet(ctx, settings, "limits", limits{4, 512}); err != nil {
		fmt.Println(err)
	}
	if err := manager.NamespaceSet(ctx, settings, "debug", true); err != nil {
		fmt.Println(err)
	}
	fmt.Println(manager.NamespaceGet[limits](ctx, settings, "limits"))
	fmt.Println(manager.NamespaceGet[bool](ctx, settings, "debug"))
	// Output:
	// {4 512} true <nil>
	// true true <nil>
}

func ExampleValue() {
	ctx := context.Background()
	m := local()
	defer m.Close()
	leader := ok(manager.OpenValue(m, "leader", "")) // the same for everybody who opens it

	fmt.Println(leader.CompareAndSwap(ctx, "", "worker 1"))
	fmt.Println(leader.CompareAndSwap(ctx, "", "worker 2"))
	fmt.Println(leader.Get(ctx))
	// Output:
	// true <nil>
	// false <nil>
	// worker 1 <nil>
}

func ExampleArray() {
	ctx := context.Background()
	m := local()
	defer m.Close()
	hours := ok(manager.NewArray[int](m, 24))

	if err := hours.SetSlice(ctx, 8, 11, 5, 3, 9); err != nil {
		fmt.Println(err)
	}
	fmt.Println(manager.Add(ctx, hours.At(9), 10))
	fmt.Println(hours.Slice(ctx, 7, 12))
	// Output:
	// 13 <nil>
	// [0 5 13 9 0] <nil>
}

func ExampleWithin() {
	ctx := context.Background()
	m := local()
	defer m.Close()
	type user struct {
		Name   string
		Visits map[string]int
		Tags   []string
	}
	users := ok(manager.NewDict[int, user](m))
	if err := users.Set(ctx, 7, user{Name: "Ada"}); err != nil {
		fmt.Println(err)
	}

	// In one step on the server each, whoever else changes another part of it.
	fmt.Println(manager.Add(ctx, manager.Within[int](users.At(7), "Visits", "/index"), 1))
	fmt.Println(manager.Append(ctx, manager.Within[[]string](users.At(7), "Tags"), "new", "kind"))
	fmt.Println(manager.Within[string](users.At(7), "Tags", -1).Get(ctx))
	fmt.Println(users.Get(ctx, 7))
	// Output:
	// 1 <nil>
	// 2 <nil>
	// kind true <nil>
	// {Ada map[/index:1] [new kind]} true <nil>
}

func ExampleList_Watch() {
	ctx := context.Background()
	m := local()
	defer m.Close()
	lines := ok(manager.NewList[string](m))
	w := ok(lines.Watch(ctx))
	defer w.Close()

	if err := lines.Append(ctx, "one", "two"); err != nil {
		fmt.Println(err)
	}
	change := ok(w.Next(ctx))
	fmt.Println(lines.Slice(ctx, change.From, change.To))
	// Output: [one two] <nil>
}

func ExampleList_Sort() {
	ctx := context.Background()
	m := local()
	defer m.Close()
	l := ok(manager.NewList[float64](m))
	if err := l.Append(ctx, 2.5, -1, 10); err != nil {
		fmt.Println(err)
	}
	if err := l.Sort(ctx); err != nil {
		fmt.Println(err)
	}
	fmt.Println(l.Snapshot(ctx))
	fmt.Println(l.Index(ctx, 10))
	// Output:
	// [-1 2.5 10] <nil>
	// 2 <nil>
}
