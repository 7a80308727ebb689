package journal

import (
	"os"
)

// A reserve is a file that takes space, so that it is there when it is needed.
type reserve struct {
	f    *os.File
	size int64
}

func openReserve(name string) (reserve, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return reserve{}, err
	}
	i, err := f.Stat()
	if err != nil {
		f.Close()
		return reserve{}, err
	}
	return reserve{f, i.Size()}, nil
}

// set makes the reserve take that many bytes. On error it takes what it took before.
func (r *reserve) set(n int64) error {
	if n > r.size {
		if err := allocate(r.f, r.size, n-r.size); err != nil {
			r.f.Truncate(r.size)
			return err
		}
	} else if err := r.f.Truncate(n); err != nil {
		return err
	}
	r.size = n
	return nil
}

// grow makes the reserve take at least n bytes.
func (r *reserve) grow(n int64) error {
	if n <= r.size {
		return nil
	}
	return r.set(n)
}

// release gives all the space back.
func (r *reserve) release() {
	r.f.Truncate(0)
	r.size = 0
}

func (r *reserve) close() {
	r.release()
	r.f.Close()
}

// fill writes zeros, for want of a better way to take space.
func fill(f *os.File, off, n int64) error {
	zeros := make([]byte, min(n, 1<<20))
	for n > 0 {
		k, err := f.WriteAt(zeros[:min(n, int64(len(zeros)))], off)
		if err != nil {
			return err
		}
		off += int64(k)
		n -= int64(k)
	}
	return nil
}
