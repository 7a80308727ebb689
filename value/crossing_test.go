package value_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/value"
)

// tryHelper says whether the guard that came along is free, and updates.
func tryHelper(args []string) int {
	files, err := strconv.Atoi(args[1])
	if err != nil {
		panic(err)
	}
	var v *value.Value[sample]
	if err := reexec.Take(args[0], files, &v); err != nil {
		fmt.Println(err)
		return 1
	}
	ok, err := v.Mutex().TryLock()
	fmt.Println(ok, err)
	if ok {
		if err := v.Mutex().Unlock(); err != nil {
			fmt.Println(err)
		}
		if _, err := v.Update(background, func(s sample) sample { s.Total++; return s }); err != nil {
			fmt.Println(err)
		}
	}
	if err := v.Close(); err != nil {
		fmt.Println(err)
	}
	return 0
}

// A Value that is handed over takes its guard along, whatever that is.
func TestGuardsCross(t *testing.T) {
	m, err := psync.NewMutex()
	verify.Must(t, err)
	t.Cleanup(func() { verify.Must(t, m.Close()) })
	other, err := value.New(1)
	own(t, other, err)
	for what, guard := range map[string]psync.Locker{
		"own guard": nil, "file lock": fileLock(t), "mutex": m, "another value's": other.Mutex(),
	} {
		t.Run(what, func(t *testing.T) {
			c, err := value.Create(name(t), sample{}, value.Options{Guard: guard})
			v := own(t, c, err)
			ask := func() string {
				arg, files := reexec.Give(t, v)
				p := reexec.Start(t, "try", files, arg, strconv.Itoa(len(files)))
				got := p.Line()
				p.Done()
				return got
			}
			verify.Must(t, v.Mutex().Lock(background))
			if got := ask(); got != "false <nil>" {
				t.Errorf("TryLock elsewhere of a guard held here: %s", got)
			}
			verify.Must(t, v.Mutex().Unlock())
			if got := ask(); got != "true <nil>" {
				t.Errorf("TryLock elsewhere of a free guard: %s", got)
			}
			if got := v.Load().Total; got != 1 {
				t.Errorf("Update elsewhere made it %d", got)
			}
			verify.Must(t, v.Mutex().Lock(background)) // closing there did not close here
			verify.Must(t, v.Mutex().Unlock())
		})
	}
	t.Run("foreign type", func(t *testing.T) {
		c, err := value.Create(name(t), sample{}, value.Options{Guard: &mine{m}})
		v := own(t, c, err)
		_, err = handover.Marshal(struct{ V *value.Value[sample] }{v}, "args")
		if err == nil || !strings.HasPrefix(err.Error(), "args.V: ") || !strings.Contains(err.Error(), "*value_test.mine") {
			t.Errorf("handing it over: %v", err)
		}
	})
}

func TestHandOverRefuses(t *testing.T) {
	closed, err := value.New(1)
	verify.Must(t, err)
	verify.Must(t, closed.Close())
	if _, err := handover.Marshal(closed, "args"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("a closed Value: %v", err)
	}
	if _, err := handover.Marshal(new(value.Value[int]), "args"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a zero Value: %v", err)
	}
}

// What arrives is checked against what is expected.
func TestTakeOverRefuses(t *testing.T) {
	c, err := value.New(int64(1))
	v := own(t, c, err)
	arrive := func(p any) error {
		m, err := handover.Marshal(v, "args")
		verify.Must(t, err)
		fds := make([]int, len(m.FDs))
		for i, fd := range m.FDs {
			fds[i] = dup(t, fd)
		}
		data := m.Data
		m.Sent()
		_, err = handover.Unmarshal(data, fds, p)
		return err
	}
	var same *value.Value[int]
	verify.Must(t, arrive(&same))
	if same.Load() != 1 {
		t.Error("another value arrived")
	}
	verify.Must(t, same.Close())
	var float *value.Value[float64]
	if err := arrive(&float); err == nil || !strings.Contains(err.Error(), "i64, not f64") {
		t.Errorf("as another type: %v", err)
	}
	var arr *array.Array[int64]
	if err := arrive(&arr); err == nil || !strings.Contains(err.Error(), "value of i64") {
		t.Errorf("as an Array: %v", err)
	}
	var text *value.Value[string]
	if err := arrive(&text); err == nil {
		t.Error("a Value of strings arrived")
	}
}

// Bytes and descriptors from anywhere are an error, and nothing is left open.
func FuzzTakeOver(f *testing.F) {
	v, err := value.New(sample{})
	if err != nil {
		f.Fatal(err)
	}
	defer v.Close()
	m, err := handover.Marshal(v, "args")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m.Data)
	f.Add([]byte("\x83\x00\x00\x00"))
	null, err := os.Open("/dev/null")
	if err != nil {
		f.Fatal(err)
	}
	defer null.Close()
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, fd := range []int{m.FDs[0], int(null.Fd())} {
			var got *value.Value[sample]
			if _, err := handover.Unmarshal(data, []int{dup(t, fd)}, &got); err == nil && got != nil {
				got.Load()
				if err := got.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	})
}
