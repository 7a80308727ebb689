package pool

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/wire"
)

// A form is how the values of a type travel. Numbers, and arrays of them, are their memory: parent and worker are one program on one machine. So
// are slices of them, in the chunks of a map: what stands in a typed array of RFC 8746, without a head that would tell the worker what it knows. Everything else is a message of package handover, which
// has typed arrays wherever there is a slice of numbers.
type form[T any] struct {
	flat bool
	size int
}

func formOf[T any]() form[T] {
	t := reflect.TypeFor[T]()
	return form[T]{flat: isFlat(t), size: int(t.Size())}
}

func isFlat(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return true
	case reflect.Array:
		return t.Len() > 0 && isFlat(t.Elem())
	}
	return false
}

// A message is a value on its way. handles is nil if it holds none, so that it is data alone.
type message struct {
	data    []byte
	handles *handover.Message

	// The task may be over (cancelled, for one) while its arguments are still being written, and then the descriptors have to stay.
	mu     sync.Mutex
	held   int
	settle func() // to be called when nobody holds it any more
}

func (m *message) fds() []int {
	if m == nil || m.handles == nil {
		return nil
	}
	return m.handles.FDs
}

// sent says that it arrived: handles that move are closed here.
func (m *message) sent() {
	if m != nil && m.handles != nil {
		m.release(m.handles.Sent)
	}
}

// drop says that it did not.
func (m *message) drop() {
	if m != nil && m.handles != nil {
		m.release(m.handles.Drop)
	}
}

func (m *message) release(f func()) {
	m.mu.Lock()
	if m.held > 0 {
		m.settle, f = f, nil
	}
	m.mu.Unlock()
	if f != nil {
		f()
	}
}

// hold keeps descriptors open until letGo.
func (m *message) hold() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held++
}

func (m *message) letGo() {
	m.mu.Lock()
	m.held--
	var f func()
	if m.held == 0 {
		f, m.settle = m.settle, nil
	}
	m.mu.Unlock()
	if f != nil {
		f()
	}
}

// encode describes v. buf is memory that it may use for that.
func (f form[T]) encode(buf []byte, v *T, root string) (*message, error) {
	if f.flat {
		return &message{data: append(buf[:0], memory(v)...)}, nil
	}
	return wrap(handover.Marshal(*v, root))
}

// encodeMany describes a slice.
func (f form[T]) encodeMany(v []T, root string) (*message, error) {
	if f.flat {
		return &message{data: memoryOf(v)}, nil
	}
	return wrap(handover.Marshal(v, root))
}

func wrap(m *handover.Message, err error) (*message, error) {
	if err != nil {
		return nil, err
	}
	if n := len(m.FDs); n > maxFDs {
		m.Drop()
		return nil, fmt.Errorf("%d descriptors, where %d can be sent at once", n, maxFDs)
	}
	if m.Plain() {
		return &message{data: m.Data}, nil
	}
	return &message{data: m.Data, handles: m}, nil
}

// decode fills *p. It owns fds.
func (f form[T]) decode(data []byte, fds []int, p *T) (*handover.Taken, error) {
	if !f.flat {
		return handover.Unmarshal(data, fds, p)
	}
	if err := refuse(fds, len(data) == f.size, data); err != nil {
		return nil, err
	}
	copy(memory(p), data)
	return nil, nil
}

// decodeMany returns a slice. It owns fds. Numbers are read where they stand: data has to remain as it is.
func (f form[T]) decodeMany(data []byte, fds []int) ([]T, *handover.Taken, error) {
	if !f.flat {
		var s []T
		t, err := handover.Unmarshal(data, fds, &s)
		return s, t, err
	}
	if err := refuse(fds, len(data)%f.size == 0, data); err != nil {
		return nil, nil, err
	}
	s, ok := viewOf[T](data)
	if !ok {
		s = make([]T, len(data)/f.size)
		copy(memoryOf(s), data)
	}
	return s, nil, nil
}

// decodeInto fills all of s. It owns fds. Data is not kept.
func (f form[T]) decodeInto(s []T, data []byte, fds []int) error {
	if f.flat {
		if err := refuse(fds, len(data) == len(s)*f.size, data); err != nil {
			return err
		}
		copy(memoryOf(s), data)
		return nil
	}
	var all []T
	if _, err := handover.Unmarshal(data, fds, &all); err != nil {
		return err
	}
	if len(all) != len(s) {
		return fmt.Errorf("%d results of %d elements", len(all), len(s))
	}
	copy(s, all)
	return nil
}

// unfilled returns n values that may be anything, and are going to be filled before anybody sees them: to clear a million numbers takes as long as two workers take to do nothing with them.
func (f form[T]) unfilled(n int) []T {
	if f.flat {
		if s, ok := viewOf[T](wire.Allocate(n * f.size)[:n*f.size]); ok {
			return s
		}
	}
	return make([]T, n)
}

// room returns n values to be written to before they are encoded, in buf if they fit there.
func (f form[T]) room(buf []byte, n int) []T {
	if size := n * f.size; f.flat && size <= cap(buf) {
		if s, ok := viewOf[T](buf[:size]); ok {
			return s
		}
	}
	return make([]T, n)
}

// refuse says what is wrong with numbers that came with descriptors, or are too many bytes or too few.
func refuse(fds []int, fits bool, data []byte) error {
	closeAll(fds)
	if len(fds) > 0 || !fits {
		return fmt.Errorf("message: %d bytes and %d descriptors where numbers were expected", len(data), len(fds))
	}
	return nil
}
