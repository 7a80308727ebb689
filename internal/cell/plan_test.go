package cell_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/go-multiproc/multiproc/internal/cell"
	"github.com/go-multiproc/multiproc/internal/layout"
	"github.com/go-multiproc/multiproc/internal/seg"
)

func planned(t testing.TB, size, count int, kind, text string) []byte {
	t.Helper()
	p, err := cell.NewPlan(size, count, kind, text)
	if err != nil {
		t.Fatal(err)
	}
	meta := make([]byte, p.MetaSize())
	p.Init(meta)
	return meta
}

func TestPlanReadsBack(t *testing.T) {
	for _, c := range []struct {
		size, count int
		kind, text  string
	}{
		{8, 1, "own", ""}, {1, 0, "", ""}, {24, 1, "file", "/some/path"}, {24, 0, "own", ""},
		{3, 1000, "mutex", "x"}, {1 << 20, 3, "0123456789abcdef", "y"},
	} {
		p, err := cell.ReadPlan(planned(t, c.size, c.count, c.kind, c.text), c.size*c.count, c.size, c.count)
		if err != nil || p.Kind != c.kind || p.Text != c.text || p.Size != c.size || p.Count != c.count {
			t.Errorf("%+v became %+v, %v", c, p, err)
		}
	}
}

// Stripes cost little: with few or small elements a page, else a part of the data.
func TestPlanIsSmall(t *testing.T) {
	for _, c := range []struct{ size, count, most int }{
		{8, 1 << 20, 128}, {24, 1, 512}, {24, 1 << 20, 64 << 10}, {1 << 20, 1, 1<<20 + 1024}, {1 << 20, 100, 30 << 20},
	} {
		if n := len(planned(t, c.size, c.count, "", "")); n > c.most {
			t.Errorf("%d elements of %d bytes need %d bytes of bookkeeping, more than %d", c.count, c.size, n, c.most)
		}
	}
}

func TestReadPlanRefuses(t *testing.T) {
	good := planned(t, 24, 3, "file", "/path")
	tests := []struct {
		name string
		meta []byte
		data int
		cnt  int
	}{
		{"nothing", nil, 72, 3},
		{"too short", good[:100], 72, 3},
		{"cut", good[:len(good)-1], 72, 3},
		{"longer", append(good[:len(good):len(good)], 0), 72, 3},
		{"other count", good, 72, 2},
		{"negative count", good, 72, -1},
		{"huge count", good, 72, 1 << 62},
		{"more stripes", changed(good, 64, 200), 72, 3},
		{"other stride", changed(good, 72, 1), 72, 3},
		{"endless text", changed(good, 103, 0xff), 72, 3},
		{"text that wraps around", changed(changed(good, 103, 0xff), 102, 0xff), 72, 3},
		{"kind that is no text", changed(good, 80, 0xff), 72, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if p, err := cell.ReadPlan(tt.meta, tt.data, 24, tt.cnt); !errors.Is(err, seg.ErrFormat) {
				t.Errorf("read as %+v, %v", p, err)
			}
		})
	}
}

func changed(b []byte, at int, to byte) []byte {
	c := append([]byte(nil), b...)
	c[at] = to
	return c
}

func TestNewPlanRefuses(t *testing.T) {
	if _, err := cell.NewPlan(8, 1, "file", string(make([]byte, 5000))); err == nil {
		t.Error("a path of 5000 bytes was accepted")
	}
	if _, err := cell.NewPlan(8, 1, "a kind of 17 byte", ""); err == nil {
		t.Error("a kind of 17 bytes was accepted")
	}
}

// Whatever stands there, ReadPlan returns; and what it accepts is what NewPlan
// would make.
func FuzzReadPlan(f *testing.F) {
	f.Add(planned(f, 8, 1, "own", ""), 8, 8, 1)
	f.Add(planned(f, 24, 3, "file", "/path"), 72, 24, 3)
	f.Add(planned(f, 3, 100, "", ""), 300, 3, 100)
	f.Fuzz(func(t *testing.T, meta []byte, data, size, count int) {
		if size <= 0 || size > 1<<30 {
			return // the size is T's, and not read from anywhere
		}
		p, err := cell.ReadPlan(meta, data, size, count)
		if err != nil {
			return
		}
		again, err := cell.NewPlan(size, count, p.Kind, p.Text)
		if err != nil || again.MetaSize() != len(meta) {
			t.Errorf("accepted %+v, of which there can be none of %d bytes: %v", p, len(meta), err)
		}
		if n := binary.LittleEndian.Uint64(meta[96:]); n != uint64(len(p.Text)) {
			t.Errorf("text of %d bytes read as %d", n, len(p.Text))
		}
	})
}

func TestMask(t *testing.T) {
	lt, err := layout.For[struct {
		A int32
		B bool
	}]()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := cell.Mask(lt.Size, lt.Padding), uint64(0x000000ff_ffffffff); got != want {
		t.Errorf("Mask = %#x, want %#x", got, want)
	}
	if got := cell.Mask(2, nil); got != 0xffff {
		t.Errorf("Mask of 2 bytes = %#x", got)
	}
	if got := cell.Mask(8, nil); got != ^uint64(0) {
		t.Errorf("Mask of 8 bytes = %#x", got)
	}
}
