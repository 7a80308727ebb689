//go:build linux

package process

import (
	"reflect"
	"testing"
)

// Adjustments that are taken apart are the same when they are put together again, and nothing else is taken.
func FuzzAdjustments(f *testing.F) {
	f.Add((&adjustments{}).encode())
	f.Add((&adjustments{dir: true, env: true, environ: []string{"A=1", "B="}, std: [3]bool{true, false, true}, setpgid: true, pgid: 7}).encode())
	f.Add([]byte{1, 1, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var a, again adjustments
		if a.decode(b) != nil {
			return
		}
		if err := again.decode(a.encode()); err != nil || !reflect.DeepEqual(a, again) {
			t.Fatalf("%+v became %+v, %v", a, again, err)
		}
	})
}

// Descriptors that are missing are an error, and those that are not used are closed.
func TestAdjustmentsWithoutDescriptors(t *testing.T) {
	for _, a := range []adjustments{{dir: true}, {std: [3]bool{true, false, false}}} {
		j := &job{data: [][]byte{nil, a.encode()}, fds: [][]int{nil, nil}}
		if err := j.adjust(); err == nil {
			t.Errorf("%+v without descriptors were made", a)
		}
	}
	fds := openDescriptors(t, 2, nil)
	j := &job{data: [][]byte{nil, {1}}, fds: [][]int{nil, fds}}
	if err := j.adjust(); err == nil {
		t.Error("half of an adjustment was made")
	}
	for _, fd := range fds {
		if isOpen(fd) {
			t.Errorf("descriptor %d is open", fd)
		}
	}
}
