package manager

import (
	"net"
	"time"

	"github.com/go-multiproc/multiproc/internal/store"
)

// SetHelloTime shortens the patience with peers that do not introduce themselves, until the test's end.
func SetHelloTime(d time.Duration) (restore func()) {
	old := helloTime.Swap(int64(d))
	return func() { helloTime.Store(old) }
}

// Connections is the number of this process's connections to servers.
func Connections() int {
	clients.mu.Lock()
	defer clients.mu.Unlock()
	return len(clients.m)
}

// FeedServer lets a new session of a new server do requests, one for each payload, and returns the bytes that it
// would send.
func FeedServer(payloads [][]byte) (sent []byte, err error) {
	st := store.New(store.Options{})
	defer st.Close()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	sv := &server{store: st, stopping: make(chan struct{}), stop: func(string) {}}
	s := sv.newSession(a)
	s.writing = true // into memory only
	s.store = st.NewSession()
	for _, p := range payloads {
		if err = s.request(p); err != nil {
			break
		}
	}
	s.cancel()
	s.work.Wait()
	s.store.End()
	return s.out, err
}

// Hello and requests, as the fuzzers' seeds.
func ReadHellos(b []byte) {
	readClientHello(b)
	readServerHello(b)
}
