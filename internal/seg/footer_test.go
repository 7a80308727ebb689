package seg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

func goodFooter(t testing.TB) (*footer, []byte) {
	t.Helper()
	f, err := Spec{Kind: "array", Type: "float64", Count: 3, Data: 24, Meta: 64}.layout()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, footerSize)
	copy(b, f.encode())
	return f, b
}

func TestFooterRoundTrip(t *testing.T) {
	want, b := goodFooter(t)
	got, err := parseFooter(b, want.fileSize)
	if err != nil {
		t.Fatal(err)
	}
	if *got != *want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got.fileSize != 4096 || got.metaOff != 64 {
		t.Errorf("file of %d bytes, meta at %d", got.fileSize, got.metaOff)
	}
}

// Footers that are well-formed, checksum and all, but lie.
func TestFooterLies(t *testing.T) {
	f, good := goodFooter(t)
	tests := []struct {
		name string
		off  int
		v    int64
	}{
		{"data behind the meta area", 24, 65},
		{"negative data", 24, -1},
		{"meta outside the file", 32, 1 << 40},
		{"meta misaligned", 32, 72},
		{"negative meta offset", 32, -64},
		{"meta runs into the footer", 40, 4096 - 512 - 64 + 1},
		{"negative meta", 40, -64},
		{"huge meta", 40, 1<<63 - 1},
		{"negative count", 80, -1},
		{"negative type length", 104, -1},
		{"another file size", 16, 8192},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := bytes.Clone(good)
			binary.LittleEndian.PutUint64(b[tt.off:], uint64(tt.v))
			resum(b)
			if _, err := parseFooter(b, f.fileSize); !errors.Is(err, ErrFormat) {
				t.Errorf("accepted: %v", err)
			}
		})
	}
}

// The token counter, which stands at a fixed distance from the end, has to be
// aligned.
func TestFooterOfOddFile(t *testing.T) {
	for _, size := range []int64{4097, 4100, 4096 + 512} {
		f, good := goodFooter(t)
		f.fileSize = size
		copy(good, f.encode())
		if _, err := parseFooter(good, size); !errors.Is(err, ErrFormat) {
			t.Errorf("a file of %d bytes: accepted: %v", size, err)
		}
	}
}

func resum(b []byte) {
	binary.LittleEndian.PutUint32(b[sumField:], 0)
	binary.LittleEndian.PutUint32(b[sumField:], checksum(b[:fixedSize]))
}

func TestFooterTypes(t *testing.T) {
	long := string(bytes.Repeat([]byte("x"), 500))
	s := Spec{Kind: "value", Type: long + "1", Data: 8}
	f, err := s.layout()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, footerSize)
	copy(b, f.encode())
	g, err := parseFooter(b, f.fileSize)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.check("value", long+"1"); err != nil {
		t.Error(err)
	}
	if err := g.check("value", long+"2"); !errors.Is(err, ErrType) {
		t.Errorf("types that differ behind the 128th byte: %v", err)
	}
	if err := g.check("array", long+"1"); !errors.Is(err, ErrType) {
		t.Errorf("another kind: %v", err)
	}
}

// Whatever is accepted describes areas within the file, in order.
func FuzzFooter(f *testing.F) {
	_, good := goodFooter(f)
	f.Add(good, int64(4096), true)
	f.Add([]byte("short"), int64(5), false)
	f.Fuzz(func(t *testing.T, b []byte, size int64, sum bool) {
		if sum && len(b) == footerSize {
			copy(b, footerMagic)
			binary.LittleEndian.PutUint32(b[versionField:], version)
			resum(b)
		}
		g, err := parseFooter(b, size)
		if err != nil {
			return
		}
		if g.fileSize != size || g.dataSize < 0 || g.metaOff < g.dataSize || g.metaSize < 0 ||
			g.metaOff+g.metaSize > size-footerSize || g.metaOff%metaAlign != 0 || g.count < 0 {
			t.Errorf("accepted %+v", g)
		}
	})
}
