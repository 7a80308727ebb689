package manager_test

import (
	"context"
	"fmt"

	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/process"
)

type visit struct {
	Counts *manager.Dict[string, int]
	Page   string
}

var countVisits = process.Register(func(ctx context.Context, v visit) error {
	for range 100 {
		if _, err := v.Counts.Update(ctx, v.Page, func(n int, ok bool) (int, error) { return n + 1, nil }); err != nil {
			return err
		}
	}
	return nil
})

func Example() {
	ctx := context.Background()
	m, err := manager.Start(manager.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	counts, err := manager.NewDict[string, int](m)
	if err != nil {
		fmt.Println(err)
		return
	}
	var children []*process.Process
	for _, page := range []string{"/", "/index", "/"} {
		p := process.New(countVisits, visit{counts, page})
		if err := p.Start(); err != nil {
			fmt.Println(err)
			return
		}
		children = append(children, p)
	}
	for _, p := range children {
		if err := p.Join(ctx); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(counts.Snapshot(ctx))
	// Output: map[/:200 /index:100] <nil>
}

func ExampleList() {
	ctx := context.Background()
	m, err := manager.Start(manager.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()

	// Containers nest, and what is inside is live.
	byName, err := manager.NewDict[string, *manager.List[int]](m)
	if err != nil {
		fmt.Println(err)
		return
	}
	primes, err := manager.NewList[int](m)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := byName.Set(ctx, "primes", primes); err != nil {
		fmt.Println(err)
		return
	}
	if err := primes.Append(ctx, 2, 3, 5); err != nil { // after it was put in
		fmt.Println(err)
		return
	}
	found, _, err := byName.Get(ctx, "primes")
	if err != nil {
		fmt.Println(err)
		return
	}
	last, err := found.Pop(ctx, -1)
	fmt.Println(last, err)
	fmt.Println(primes.Snapshot(ctx))
	// Output:
	// 5 <nil>
	// [2 3] <nil>
}
