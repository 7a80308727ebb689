//go:build linux

package process_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/process"
)

// One generic function for two types, and twice for one of them.
func echo[T any](_ context.Context, v T) error {
	fmt.Printf("%T %v\n", v, v)
	return nil
}

// Closures from one factory have one symbol.
func factory(text string) func(context.Context, struct{}) error {
	return func(context.Context, struct{}) error {
		fmt.Println(text)
		return nil
	}
}

type receiver struct{}

func (r *receiver) work(context.Context, struct{}) error { return nil }

// A method expression has no receiver to leave behind.
type argument struct{ N int }

func runArgument(_ context.Context, a argument) error {
	fmt.Println("argument", a.N)
	return nil
}

var (
	echoInt     = process.Register(echo[int])
	echoString  = process.Register(echo[string])
	echoInt2    = process.Register(echo[int])
	first       = process.Register(factory("first"))
	second      = process.Register(factory("second"))
	third       = process.Register(factory("third"))
	withName    = process.RegisterName("a name of its own", runArgument)
	withoutName = process.Register(runArgument)
)

// Each registration is found in the child, and no other one.
func TestRegistrationsAreToldApart(t *testing.T) {
	for _, test := range []struct {
		name string
		got  string
		want string
	}{
		{"generic int", run(t, echoInt, 7), "int 7\n"},
		{"generic string", run(t, echoString, "7"), "string 7\n"},
		{"generic int again", run(t, echoInt2, 8), "int 8\n"},
		{"first closure", run(t, first, struct{}{}), "first\n"},
		{"second closure", run(t, second, struct{}{}), "second\n"},
		{"third closure", run(t, third, struct{}{}), "third\n"},
		{"named", run(t, withName, argument{3}), "argument 3\n"},
		{"unnamed", run(t, withoutName, argument{4}), "argument 4\n"},
	} {
		if test.got != test.want {
			t.Errorf("%s: %q, want %q", test.name, test.got, test.want)
		}
	}
	if got := withName.Name(); got != "a name of its own" {
		t.Errorf("Name = %q", got)
	}
	if got := withoutName.Name(); !strings.HasSuffix(got, "process_test.runArgument") {
		t.Errorf("Name = %q", got)
	}
}

// absentMarker keeps the following from being registered in processes that have it in their environment.
const absentMarker = "PROCESS_TEST_ABSENT"

var (
	absent      *process.Func[struct{}]
	absentNamed *process.Func[struct{}]
	oneOfTwo    *process.Func[int]
)

func init() {
	oneOfTwo = process.Register(counted)
	if os.Getenv(absentMarker) == "" {
		absent = process.Register(func(context.Context, struct{}) error { return nil })
		absentNamed = process.RegisterName("absent", func(context.Context, struct{}) error { return nil })
		process.Register(counted)
	}
}

func counted(context.Context, int) error { return nil }

func TestFunctionMissingInChild(t *testing.T) {
	for _, test := range []struct {
		name string
		p    *process.Process
		want []string
	}{
		{"by symbol", process.New(absent, struct{}{}), []string{"the function ", "process_test.init.", "(struct {}) is not registered in the child", "package-level variable"}},
		{"by name", process.New(absentNamed, struct{}{}), []string{"registered as absent", "is not registered in the child"}},
		{"number differs", process.New(oneOfTwo, 1), []string{"process_test.counted(int) (1 of 2)", "is registered 1 times in the child", "process.RegisterName"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.p.Env = append(os.Environ(), absentMarker+"=1")
			mustStart(t, test.p)
			e := joinError(t, test.p)
			if e.Code != 1 || !strings.Contains(e.Error(), "could not call its function") {
				t.Errorf("%v", e)
			}
			for _, want := range test.want {
				if !strings.Contains(e.Err, want) {
					t.Errorf("Err = %q, want %q in it", e.Err, want)
				}
			}
		})
	}
}

func TestRegisterRefuses(t *testing.T) {
	r := new(receiver)
	work := func(context.Context, struct{}) error { return nil }
	mustPanic(t, "nil", "process: cannot register a nil function", func() { process.Register[int](nil) })
	mustPanic(t, "no name", "process: RegisterName needs a name", func() { process.RegisterName("", work) })
	mustPanic(t, "method value", "process_test.(*receiver).work: its receiver does not exist in the child", func() { process.Register(r.work) })
	mustPanic(t, "method value by name", "its receiver does not exist", func() { process.RegisterName("work", r.work) })
	mustPanic(t, "too late", "registered after process.Main or process.Init began", func() { process.Register(work) })
	mustPanic(t, "Inherit too late", "called after process.Main or process.Init began", func() { process.Inherit(1) })
	mustPanic(t, "New without a function", "process: New needs a function", func() { process.New[int](nil, 1) })
	mustPanic(t, "Start of a zero Process", "process: a Process comes from process.New", func() { new(process.Process).Start() })
	mustPanic(t, "New with a zero Func", "process: New needs a function", func() { process.New(new(process.Func[int]), 1) })
}

// duplicateMarker makes a process register one name twice.
const duplicateMarker = "PROCESS_TEST_DUPLICATE"

func init() {
	if os.Getenv(duplicateMarker) != "" {
		process.RegisterName("twice", func(context.Context, int) error { return nil })
		process.RegisterName("twice", func(context.Context, string) error { return nil })
	}
	mains["nothing"] = func() int { return 0 }
}

func TestDuplicateNamePanics(t *testing.T) {
	cmd := program(t, "nothing")
	cmd.Env = append(cmd.Env, duplicateMarker+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), `panic: process: two functions are registered as "twice"`) {
		t.Errorf("%v: %s", err, out)
	}
}
