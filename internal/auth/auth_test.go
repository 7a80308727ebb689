package auth_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/internal/auth"
)

// An end is one end of a conversation within this process.
type end struct {
	in  <-chan []byte
	out chan<- []byte
}

func (e end) WriteFrame(b []byte) error { e.out <- bytes.Clone(b); return nil }

func (e end) ReadFrame(max int) ([]byte, error) {
	b, ok := <-e.in
	if !ok {
		return nil, io.EOF
	}
	if len(b) > max {
		return nil, errors.New("too large")
	}
	return b, nil
}

func TestHandshake(t *testing.T) {
	for _, tt := range []struct {
		name             string
		listener, client auth.Key
		says             string // "" = both succeed
	}{
		{"the same key", auth.Key{Secret: []byte("a")}, auth.Key{Secret: []byte("a")}, ""},
		{"without MD5", auth.Key{Secret: []byte("a"), RefuseMD5: true}, auth.Key{Secret: []byte("a"), RefuseMD5: true}, ""},
		{"another key", auth.Key{Secret: []byte("a")}, auth.Key{Secret: []byte("b")}, "another key"},
		{"an empty key", auth.Key{Secret: []byte("a")}, auth.Key{}, "another key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up, down := make(chan []byte, 8), make(chan []byte, 8)
			heard := make(chan error, 1)
			go func() {
				heard <- tt.listener.Listener(end{up, down})
				close(down)
			}()
			err := tt.client.Client(end{down, up})
			close(up)
			for _, err := range []error{err, <-heard} {
				if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
					t.Errorf("%v, want %q", err, tt.says)
				}
			}
		})
	}
}

// scripted is a peer that says what it says, whatever it is asked.
type scripted struct{ rest []byte }

func (s *scripted) WriteFrame([]byte) error { return nil }

func (s *scripted) ReadFrame(max int) ([]byte, error) {
	if len(s.rest) == 0 {
		return nil, io.EOF
	}
	n := min(int(s.rest[0]), len(s.rest)-1, max)
	b := s.rest[1 : 1+n]
	s.rest = s.rest[1+n:]
	return b, nil
}

// FuzzHandshake: no peer gets through without the key, and none causes more than an error.
func FuzzHandshake(f *testing.F) {
	frame := func(parts ...string) (b []byte) {
		for _, p := range parts {
			b = append(append(b, byte(len(p))), p...)
		}
		return b
	}
	f.Add(frame("#CHALLENGE#{sha256}"+strings.Repeat("x", 40)), false)
	f.Add(frame("#CHALLENGE#"+strings.Repeat("x", 20), "#WELCOME#", strings.Repeat("x", 16)), false)
	f.Add(frame("{sha3_256}"+strings.Repeat("x", 32), "#WELCOME#"), true)
	f.Fuzz(func(t *testing.T, says []byte, listener bool) {
		k := auth.Key{Secret: []byte("a key that no fuzzer guesses")}
		side := k.Client
		if listener {
			side = k.Listener
		}
		if err := side(&scripted{says}); err == nil {
			t.Error("let in")
		}
	})
}
