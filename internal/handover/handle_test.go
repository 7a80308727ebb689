package handover_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/go-multiproc/multiproc/internal/handover"
)

// script is a handle whose two methods are what a test says.
type script struct {
	over func(*handover.Encoder) error
	log  *[]string
}

func (s *script) HandOver(e *handover.Encoder) error { return s.over(e) }
func (s *script) TakeOver(d *handover.Decoder) error { return taking(s, d) }
func (s *script) Close() error                       { *s.log = append(*s.log, "close"); return nil }

// taking stands in for the methods of a type: a zero handle has no fields to keep a function in.
var taking func(*script, *handover.Decoder) error

type panicky struct{}

func (panicky) MarshalBinary() ([]byte, error)  { panic("mine") }
func (*panicky) UnmarshalBinary(b []byte) error { return nil }

var errMine = errors.New("mine")

// Whatever becomes of a message, each release runs once, and the hooks of one kind, in order.
func TestReleasedOnce(t *testing.T) {
	var log []string
	say := func(s string) func() { return func() { log = append(log, s) } }
	h := func(err error) *script {
		return &script{over: func(e *handover.Encoder) error {
			e.FD(0, say("release"))
			e.FD(0, nil)
			e.OnSent(say("sent"))
			e.OnDrop(say("drop"))
			return err
		}}
	}
	type args struct {
		A, B *script
		C    any
	}
	for _, c := range []struct {
		name string
		v    args
		opt  []handover.Option
		send bool
		want string
	}{
		{name: "sent", v: args{A: h(nil)}, send: true, want: "[release sent]"},
		{name: "dropped", v: args{A: h(nil), B: h(nil)}, want: "[release release drop drop]"},
		{name: "HandOver fails", v: args{A: h(nil), B: h(errMine)}, want: "[release release drop drop]"},
		{name: "refusal", v: args{A: h(nil), C: make(chan int)}, want: "[release drop]"},
		{name: "no descriptors", v: args{A: h(nil)}, opt: []handover.Option{handover.NoDescriptors("x")}, want: "[release drop]"},
		{name: "no handles", v: args{A: h(nil)}, opt: []handover.Option{handover.NoHandles("x")}, want: "[]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			log = []string{}
			m, err := handover.Marshal(c.v, "args", c.opt...)
			if err == nil {
				if c.send {
					m.Sent()
				}
				m.Drop()
				m.Sent()
				m.Drop()
			}
			if got := fmt.Sprint(log); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
	t.Run("panic", func(t *testing.T) {
		log = []string{}
		defer func() {
			if r := recover(); r != "mine" {
				t.Errorf("recovered %v", r)
			}
			if got := fmt.Sprint(log); got != "[release drop]" {
				t.Errorf("%v", got)
			}
		}()
		handover.Marshal(struct {
			A *script
			P panicky
		}{A: h(nil)}, "args")
	})
}

func TestTakeOver(t *testing.T) {
	put := func(vs ...any) *script {
		return &script{over: func(e *handover.Encoder) error {
			for _, v := range vs {
				if s, ok := v.(*script); ok {
					if err := e.Handle(s); err != nil {
						return err
					}
					continue
				}
				if err := e.Put(v); err != nil {
					return err
				}
			}
			return nil
		}}
	}
	var log []string
	for _, c := range []struct {
		name string
		v    *script
		take func(*script, *handover.Decoder) error
		err  string
		log  string
	}{
		{"all", put(1, nil, "x"), func(s *script, d *handover.Decoder) error {
			var n int
			var a any
			var x string
			if err := errors.Join(d.Get(&n), d.Get(&a), d.Get(&x)); err != nil || n != 1 || a != nil || x != "x" {
				return fmt.Errorf("got %v %v %v, %v", n, a, x, err)
			}
			return nil
		}, "", "[close]"},
		{"a newer sender's", put(1, []int{2}, "more"), func(s *script, d *handover.Decoder) error { return d.Get(new(int)) }, "", "[close]"},
		{"an older sender's", put(1), func(s *script, d *handover.Decoder) error {
			return errors.Join(d.Get(new(int)), d.Get(new(int)))
		}, "message.S: the description of the handle ends early", "[]"},
		{"another type", put("x"), func(s *script, d *handover.Decoder) error { return d.Get(new(int)) }, "message.S: cbor: cannot unmarshal", "[]"},
		{"no descriptor", put("x"), func(s *script, d *handover.Decoder) error { _, err := d.FD(); return err }, "message.S: string where integer is needed", "[]"},
		{"a descriptor that is not there", put(7), func(s *script, d *handover.Decoder) error { _, err := d.FD(); return err }, "message.S: descriptor 7 of the message is missing: only 0 arrived", "[]"},
		{"inner stays with the outer", put(1, put(2)), func(s *script, d *handover.Decoder) error {
			var n int
			if err := d.Get(&n); err != nil || n == 2 {
				return err
			}
			return d.Handle(new(script))
		}, "", "[close]"},
		{"inner is closed when the outer fails", put(1, put(2)), func(s *script, d *handover.Decoder) error {
			var n int
			if err := d.Get(&n); err != nil || n == 2 {
				s.log = &log
				return err
			}
			return errors.Join(d.Handle(new(script)), errMine)
		}, "message.S: mine", "[close]"},
		{"inner fails", put(1, put(2)), func(s *script, d *handover.Decoder) error {
			var n int
			if err := d.Get(&n); err != nil || n == 2 {
				return errMine
			}
			return d.Handle(new(script))
		}, "message.S: mine", "[]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			log = []string{}
			taking = func(s *script, d *handover.Decoder) error {
				s.log = &log
				return c.take(s, d)
			}
			type in struct{ S *script }
			data, fds := ship(t, in{c.v})
			taken, err := handover.Unmarshal(data, fds, new(in))
			if err == nil {
				taken.Close()
			}
			if c.err == "" && err != nil || c.err != "" && (err == nil || len(err.Error()) < len(c.err) || err.Error()[:len(c.err)] != c.err) {
				t.Errorf("%v, want %q", err, c.err)
			}
			if got := fmt.Sprint(log); got != c.log {
				t.Errorf("%v, want %v", got, c.log)
			}
		})
	}
	var none *script
	_, err := handover.Marshal(put(none), "v")
	mustFail(t, err, "v: nil where a handle is needed")
	_, err = handover.Marshal(put(make(chan int)), "v")
	mustFail(t, err, "v: a chan int cannot be passed")
}

func ExampleMarshal() {
	type job struct {
		Name string
		Done func()
	}
	_, err := handover.Marshal([]job{{"index", nil}}, "args")
	fmt.Println(err)

	m, err := handover.Marshal(map[string][]int{"a": {1, 2}}, "args")
	if err != nil {
		fmt.Println(err)
		return
	}
	data := m.Data // to be sent, with m.FDs
	m.Sent()

	var arrived map[string][]int
	if _, err := handover.Unmarshal(data, nil, &arrived); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(arrived)
	// Output:
	// args[0].Done: a func() cannot be passed to another process; register the function and pass what it needs
	// map[a:[1 2]]
}
