package layout_test

import (
	"errors"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/go-multiproc/multiproc/internal/layout"
)

type (
	celsius float64
	point   struct{ X, Y float64 }
	named   struct {
		Name string
		N    int
	}
	deep struct {
		ID    int32
		Parts [4]struct{ Inner named }
	}
	padded struct {
		A int64
		B bool
	}
	blank struct {
		A int32
		_ [4]byte
		B int64
	}
	pair[A, B any] struct {
		First  A
		Second B
	}
)

func TestText(t *testing.T) {
	tests := []struct {
		name    string
		typ     reflect.Type
		want    string
		bitwise bool
		padding []layout.Span
	}{
		{"bool", reflect.TypeFor[bool](), "bool", true, nil},
		{"byte", reflect.TypeFor[byte](), "u8", true, nil},
		{"rune", reflect.TypeFor[rune](), "i32", true, nil},
		{"int", reflect.TypeFor[int](), "i64", true, nil},
		{"uint", reflect.TypeFor[uint](), "u64", true, nil},
		{"duration", reflect.TypeFor[time.Duration](), "i64", true, nil},
		{"named float", reflect.TypeFor[celsius](), "f64", false, nil},
		{"complex64", reflect.TypeFor[complex64](), "c64", false, nil},
		{"complex128", reflect.TypeFor[complex128](), "c128", false, nil},
		{"array", reflect.TypeFor[[32]byte](), "u8x32", true, nil},
		{"array of one", reflect.TypeFor[[1]int32](), "i32", true, nil},
		{"matrix", reflect.TypeFor[[3][4]float32](), "f32x12", false, nil},
		{"struct of one", reflect.TypeFor[struct{ N int16 }](), "i16", true, nil},
		{"struct of equal", reflect.TypeFor[point](), "f64x2", false, nil},
		{"nested equal", reflect.TypeFor[[2]struct{ From, To point }](), "f64x8", false, nil},
		{"two kinds", reflect.TypeFor[struct {
			X float64
			Y int32
		}](), "16{f64@0 i32@8}", false, []layout.Span{{12, 16}}},
		{"hole inside", reflect.TypeFor[struct {
			B bool
			N uint64
		}](), "16{bool@0 u64@8}", true, []layout.Span{{1, 8}}},
		{"bool and byte", reflect.TypeFor[struct {
			A bool
			B byte
		}](), "2{bool@0 u8@1}", true, nil},
		{"array of padded", reflect.TypeFor[[2]padded](), "2*16{i64@0 bool@8}", true, []layout.Span{{9, 16}, {25, 32}}},
		{"padded in struct", reflect.TypeFor[struct {
			N byte
			P [2]padded
		}](), "40{u8@0 2*16{i64@0 bool@8}@8}", true, []layout.Span{{1, 8}, {17, 24}, {33, 40}}},
		{"blank field", reflect.TypeFor[blank](), "16{i32@0 i64@8}", true, []layout.Span{{4, 8}}},
		{"only blank", reflect.TypeFor[struct{ _ [3]int32 }](), "12{}", true, []layout.Span{{0, 12}}},
		{"empty array inside", reflect.TypeFor[struct {
			A int32
			E [0]int32
			B int32
		}](), "i32x2", true, nil},
		{"generic", reflect.TypeFor[pair[uint32, float32]](), "8{u32@0 f32@4}", false, nil},
		{"atomic", reflect.TypeFor[atomic.Int64](), "i64", true, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := layout.Of(tt.typ)
			if err != nil {
				t.Fatal(err)
			}
			if got.Text != tt.want {
				t.Errorf("Text = %q, want %q", got.Text, tt.want)
			}
			if got.Size != int(tt.typ.Size()) || got.Align != tt.typ.Align() {
				t.Errorf("Size, Align = %d, %d; want %d, %d", got.Size, got.Align, tt.typ.Size(), tt.typ.Align())
			}
			if !reflect.DeepEqual(got.Padding, tt.padding) {
				t.Errorf("Padding = %v, want %v", got.Padding, tt.padding)
			}
			if want := tt.bitwise && tt.padding == nil; got.Bitwise != want {
				t.Errorf("Bitwise = %v, want %v", got.Bitwise, want)
			}
		})
	}
}

func TestSameLayoutOtherNames(t *testing.T) {
	type mine struct {
		X float64
		Y int32
	}
	type yours struct {
		Lat struct{ Degrees celsius }
		Tag [1]rune
	}
	a, err := layout.For[mine]()
	if err != nil {
		t.Fatal(err)
	}
	b, err := layout.For[yours]()
	if err != nil {
		t.Fatal(err)
	}
	if a.Text != b.Text {
		t.Errorf("%q and %q are not equal", a.Text, b.Text)
	}
}

func TestRefused(t *testing.T) {
	tests := []struct {
		name string
		typ  reflect.Type
		path string
		says string // part of the reason
	}{
		{"string", reflect.TypeFor[string](), "string", "a string has no fixed size; use an array of bytes"},
		{"string field", reflect.TypeFor[named](), "named.Name", "a string has no fixed size"},
		{"deep", reflect.TypeFor[deep](), "deep.Parts[].Inner.Name", "a string has no fixed size"},
		{"pointer", reflect.TypeFor[*int](), "*int", "a pointer means nothing"},
		{"unsafe pointer", reflect.TypeFor[unsafe.Pointer](), "Pointer", "a pointer means nothing"},
		{"slice", reflect.TypeFor[[]int](), "[]int", "such as [16]int"},
		{"map", reflect.TypeFor[map[int]int](), "map[int]int", "manager.Dict"},
		{"any", reflect.TypeFor[any](), "interface {}", "one concrete type"},
		{"error field", reflect.TypeFor[struct{ Err error }](), "struct { Err error }.Err", "an interface"},
		{"chan", reflect.TypeFor[chan int](), "chan int", "queue.Queue"},
		{"func", reflect.TypeFor[func()](), "func()", "one process only"},
		{"uintptr", reflect.TypeFor[uintptr](), "uintptr", "use uint64"},
		{"zero struct", reflect.TypeFor[struct{}](), "struct {}", "size zero"},
		{"zero array", reflect.TypeFor[[0]int](), "[0]int", "size zero"},
		{"mutex", reflect.TypeFor[struct{ Mu sync.Mutex }](), "struct { Mu sync.Mutex }.Mu", "use psync.Mutex"},
		{"rwmutex", reflect.TypeFor[sync.RWMutex](), "RWMutex", "use psync.RWMutex"},
		{"once", reflect.TypeFor[sync.Once](), "Once", "use psync.Once"},
		{"wait group", reflect.TypeFor[sync.WaitGroup](), "WaitGroup", "one process only"},
		{"time", reflect.TypeFor[time.Time](), "Time.loc", "a pointer"},
		{"atomic pointer", reflect.TypeFor[atomic.Pointer[int]](), "Pointer[int]._[]", "a pointer"},
		{"blank string", reflect.TypeFor[struct{ _ string }](), "struct { _ string }._", "a string"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lt, err := layout.Of(tt.typ)
			if err == nil {
				t.Fatalf("accepted as %q", lt.Text)
			}
			var le *layout.Error
			if !errors.As(err, &le) || !errors.Is(err, layout.ErrType) {
				t.Fatalf("error is a %T", err)
			}
			if le.Path != tt.path || !strings.Contains(le.Reason, tt.says) {
				t.Errorf("error %q; want path %q and %q", err, tt.path, tt.says)
			}
		})
	}
}

func TestLongTypeNameIsCut(t *testing.T) {
	_, err := layout.For[struct {
		LongFieldNumberOne, LongFieldNumberTwo, LongFieldNumberThree int
		Wrong                                                        string
	}]()
	if err == nil || len(err.Error()) > 200 || !strings.Contains(err.Error(), "….Wrong: ") {
		t.Errorf("error %q", err)
	}
}

func TestCodes(t *testing.T) {
	sizes := map[byte]int{'c': 1, 'u': 4, 'b': 1, 'B': 1, 'h': 2, 'H': 2, 'i': 4, 'I': 4,
		'l': 8, 'L': 8, 'q': 8, 'Q': 8, 'f': 4, 'd': 8}
	for _, c := range layout.Codes() {
		if got := int(c.Type.Size()); got != sizes[c.Code] {
			t.Errorf("%c: %v has %d bytes, want %d", c.Code, c.Type, got, sizes[c.Code])
		}
		if _, err := layout.Of(c.Type); err != nil {
			t.Errorf("%c: %v", c.Code, err)
		}
		delete(sizes, c.Code)
	}
	if len(sizes) > 0 {
		t.Errorf("missing: %v", sizes)
	}
}
