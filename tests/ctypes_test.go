package tests_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"reflect"
	"testing"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/value"
)

// mixed has padding between its fields, which both sides must place alike.
type mixed struct {
	Flag  int8
	Ratio float64
	Count int32
	Tail  [3]uint16
}

// The program that stock Python runs: it opens each segment by name, takes it for an array
// of three of the ctypes type, says what the first is, and copies that to the second.
const ctypesProgram = `
import ctypes, gc, json, sys
from multiprocessing import resource_tracker, shared_memory

class mixed(ctypes.Structure):
    _fields_ = [("Flag", ctypes.c_int8), ("Ratio", ctypes.c_double), ("Count", ctypes.c_int32), ("Tail", ctypes.c_uint16 * 3)]

types = {"c": ctypes.c_char, "u": ctypes.c_wchar, "b": ctypes.c_byte, "B": ctypes.c_ubyte, "h": ctypes.c_short, "H": ctypes.c_ushort,
         "i": ctypes.c_int, "I": ctypes.c_uint, "l": ctypes.c_long, "L": ctypes.c_ulong, "q": ctypes.c_longlong, "Q": ctypes.c_ulonglong,
         "f": ctypes.c_float, "d": ctypes.c_double, "mixed": mixed}

for name, code in json.load(sys.stdin):
    shm = shared_memory.SharedMemory(name=name)
    resource_tracker.unregister(shm._name, "shared_memory")  # it is not ours to remove
    a = (types[code] * 3).from_buffer(shm.buf)
    if code == "mixed":
        print(a[0].Flag, a[0].Ratio, a[0].Count, list(a[0].Tail))
    else:
        print(a[0])
    a[1] = a[0]
    del a
    gc.collect()  # a struct's array and its parent refer to each other, and to the memory
    shm.close()
`

// A case is a named array and what Python should print of its first element.
type ctypesCase struct {
	name, code, printed string
	copied              func() bool
}

func ctypesArray[T comparable](t *testing.T, code string, v T, printed string) ctypesCase {
	t.Helper()
	name := fmt.Sprintf("ctypes-test-%d-%s", os.Getpid(), code)
	a, err := array.Create[T](name, 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(a.Close(), array.Remove(name)); err != nil {
			t.Error(err)
		}
	})
	a.Store(0, v)
	return ctypesCase{name, code, printed, func() bool { return a.Load(1) == v && reflect.ValueOf(a.Load(2)).IsZero() }}
}

// Stock Python sees the elements of a named array at offset 0, as the ctypes that the
// guide's list of type codes says, and what it writes is there for us.
func TestCtypesSeeTheSameElements(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	cases := []ctypesCase{
		ctypesArray[byte](t, "c", 'a', "b'a'"),
		ctypesArray[rune](t, "u", '超', "超"),
		ctypesArray[int8](t, "b", math.MinInt8, "-128"),
		ctypesArray[uint8](t, "B", math.MaxUint8, "255"),
		ctypesArray[int16](t, "h", math.MinInt16, "-32768"),
		ctypesArray[uint16](t, "H", math.MaxUint16, "65535"),
		ctypesArray[int32](t, "i", math.MinInt32, "-2147483648"),
		ctypesArray[uint32](t, "I", math.MaxUint32, "4294967295"),
		ctypesArray[int](t, "l", math.MinInt64, "-9223372036854775808"),
		ctypesArray[uint](t, "L", math.MaxUint64, "18446744073709551615"),
		ctypesArray[int64](t, "q", math.MaxInt64, "9223372036854775807"),
		ctypesArray[uint64](t, "Q", math.MaxUint64, "18446744073709551615"),
		ctypesArray[float32](t, "f", 0.75, "0.75"),
		ctypesArray[float64](t, "d", math.Pi, "3.141592653589793"),
		ctypesArray[mixed](t, "mixed", mixed{-3, 2.5, 70_000, [3]uint16{1, 2, 65535}}, "-3 2.5 70000 [1, 2, 65535]"),
	}
	var spec [][2]string
	for _, c := range cases {
		spec = append(spec, [2]string{c.name, c.code})
	}
	stdin, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", ctypesProgram)
	cmd.Env = append(os.Environ(), "PYTHONIOENCODING=utf-8")
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if len(lines) != len(cases) {
		t.Fatalf("Python printed %q", out)
	}
	for i, c := range cases {
		if string(lines[i]) != c.printed {
			t.Errorf("%s: Python sees %s, want %s", c.code, lines[i], c.printed)
		}
		if !c.copied() {
			t.Errorf("%s: what Python wrote is not what is there", c.code)
		}
	}
}

// A Value's file can be read by any program that reads files.
func TestNamedValueBeginsWithItsData(t *testing.T) {
	name := fmt.Sprintf("ctypes-test-%d-value", os.Getpid())
	v, err := value.Create(name, uint32(0x01020304))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { errors.Join(v.Close(), value.Remove(name)) })
	b, err := os.ReadFile("/dev/shm/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(b, []byte{4, 3, 2, 1}) {
		t.Errorf("the file begins with % x", b[:4])
	}
}
