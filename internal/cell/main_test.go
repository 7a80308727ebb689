package cell_test

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/internal/cell"
	"github.com/go-multiproc/multiproc/internal/guard"
	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/seg"
)

func TestMain(m *testing.M) {
	reexec.Main(m, map[string]reexec.Helper{"write": writeHelper, "storm": stormHelper})
}

// A table is elements of some size, with the access under test.
type table struct {
	*cell.Stripes
	h           *seg.Handle
	size, count int
}

func newTable(t testing.TB, size, count int) *table {
	t.Helper()
	p, err := cell.NewPlan(size, count, guard.None, "")
	if err != nil {
		t.Fatal(err)
	}
	h, err := seg.New(seg.Spec{Kind: "test", Count: count, Data: size * count, Meta: p.MetaSize(), Init: func(_, meta []byte) { p.Init(meta) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close(nil) })
	return &table{cell.NewStripes(h, p), h, size, count}
}

// file is the table for a helper, as descriptor 3.
func (tb *table) file(t testing.TB) []*os.File {
	t.Helper()
	fd, err := tb.h.Reopen()
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "segment")
	t.Cleanup(func() { f.Close() })
	return []*os.File{f}
}

// inheritedTable is the table of elements of that size in descriptor 3.
func inheritedTable(size int) *table {
	h, err := seg.Attach(3, "", "test", "", false)
	if err != nil {
		panic(err)
	}
	p, err := cell.ReadPlan(h.Meta(), len(h.Data()), size, h.Count())
	if err != nil {
		panic(err)
	}
	return &table{cell.NewStripes(h, p), h, size, h.Count()}
}

// put makes all bytes of element i equal to b.
func (tb *table) put(i int, b byte) {
	tb.Store(i, bytes.Repeat([]byte{b}, tb.size))
}

// get is the byte that element i consists of, or an error if it is torn.
func (tb *table) get(i int) (byte, error) {
	buf := make([]byte, tb.size)
	tb.Load(i, buf)
	for at, b := range buf {
		if b != buf[0] {
			return 0, fmt.Errorf("element %d of %d bytes is torn: byte 0 is %d, byte %d is %d", i, tb.size, buf[0], at, b)
		}
	}
	return buf[0], nil
}

// numbers reads a helper's arguments.
func numbers(args []string) []int {
	var ns []int
	for _, a := range args {
		n, err := strconv.Atoi(a)
		if err != nil {
			panic(err)
		}
		ns = append(ns, n)
	}
	return ns
}

func words(ns ...int) []string { return strings.Fields(strings.Trim(fmt.Sprint(ns), "[]")) }
