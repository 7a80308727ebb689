package handover_test

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/go-multiproc/multiproc/internal/handover"
)

// grade has methods for one direction, so that slices of it are walked element by element.
type grade int32

func (grade) MarshalText() ([]byte, error) { return []byte("a grade"), nil }

// Slices of numbers are typed arrays wherever they stand: beside a handle, in a map, in an any.
func TestSlicesOfNumbers(t *testing.T) {
	type all struct {
		Count  *cell[int]
		Direct []float64
		Map    map[string][]float64
		Deep   map[int]struct{ Rows [][]float64 }
		Any    any
	}
	row := []float64{0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5}
	in := all{
		Count: &cell[int]{3}, Direct: row, Map: map[string][]float64{"a": row, "nil": nil, "short": {1}},
		Deep: map[int]struct{ Rows [][]float64 }{5: {[][]float64{row, row}}}, Any: map[string]any{"a": map[string][]float64{"b": row}},
	}
	m, err := handover.Marshal(in, "v")
	if err != nil {
		t.Fatal(err)
	}
	m.Sent()
	if n := bytes.Count(m.Data, []byte("\xd8\x56\x58\x40")); n != 5 {
		t.Errorf("%d typed arrays of 64 bytes in %x", n, m.Data)
	}
	var out all
	if _, err := handover.Unmarshal(m.Data, nil, &out); err != nil {
		t.Fatal(err)
	}
	if got := out.Any.(map[string]any)["a"].(map[string]any)["b"].([]any); len(got) != 8 || got[7] != 7.5 {
		t.Errorf("in an any: %v", out.Any)
	}
	in.Any, out.Any = nil, nil
	if in.Count.v != out.Count.v {
		t.Error("the handle")
	}
	in.Count, out.Count = nil, nil
	if !reflect.DeepEqual(in, out) {
		t.Errorf("%+v arrived as %+v", in, out)
	}
	// Into what the receiver reads one by one.
	m, err = handover.Marshal([]int32{1, 2, 3, 4, 5, 6, 7, 8}, "v")
	if err != nil {
		t.Fatal(err)
	}
	m.Sent()
	var levels []grade
	if _, err := handover.Unmarshal(m.Data, nil, &levels); err != nil || len(levels) != 8 || levels[7] != 8 {
		t.Errorf("%v, %v", levels, err)
	}
	var fixed [8]grade
	if _, err := handover.Unmarshal(m.Data, nil, &fixed); err != nil || fixed[7] != 8 {
		t.Errorf("%v, %v", fixed, err)
	}
}
