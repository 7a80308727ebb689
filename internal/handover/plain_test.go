package handover_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/handover"
)

func TestAppendPlainWritesWhatMarshalDoes(t *testing.T) {
	n := 7
	for _, c := range []struct {
		name string
		v    any
	}{
		{"number", 300},
		{"string", "text"},
		{"bytes", []byte{1, 2}},
		{"nil slice", []string(nil)},
		{"struct", record{1, "one", []string{"a", "b"}, 0.5}},
		{"pointer to a struct", &record{ID: 2}},
		{"nil pointer", (*record)(nil)},
		{"pointer to a number", &n},
		{"slice of structs", records(3)},
		{"map", map[string]int{"a": 1}},
		{"array", [2]uint16{1, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := handover.Marshal(c.v, "v")
			if err != nil {
				t.Fatal(err)
			}
			defer m.Drop()
			got, ok := handover.AppendPlain([]byte("before"), c.v)
			if !ok {
				t.Fatal("refused")
			}
			if want := append([]byte("before"), m.Data...); !bytes.Equal(got, want) {
				t.Errorf("%x, Marshal writes %x", got, want)
			}
		})
	}
}

func TestAppendPlainLeavesTheRestToMarshal(t *testing.T) {
	type list struct{ Next *list }
	for _, c := range []struct {
		name string
		v    any
	}{
		{"nil", nil},
		{"handle", &cell[int]{1}},
		{"struct with a handle", withHandle{}},
		{"any", []any{1}},
		{"may contain itself", &list{}},
		{"refused", make(chan int)},
		{"cannot be written", time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"long", lines{[]string{strings.Repeat("x", 2<<20)}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := []byte("before")
			got, ok := handover.AppendPlain(b, c.v)
			if ok || string(got) != "before" {
				t.Errorf("%q, %t", got, ok)
			}
		})
	}
}
