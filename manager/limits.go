package manager

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// What a client may cost before the server trusts it, and after that.

// maxStrangers bounds connections that have not introduced themselves. Above it, the oldest goes: somebody with business here is
// through in a millisecond, so whoever opens connections and says nothing displaces others of the kind, and not him.
const maxStrangers = 512

// maxWaiting and maxBuffered are the limits if the options do not say.
const maxWaiting = 16 << 10

func (o Options) maxWaiting() int {
	if o.MaxWaiting <= 0 {
		return maxWaiting
	}
	return o.MaxWaiting
}

func (o Options) maxBuffered() int {
	if o.MaxBuffered <= 0 {
		return o.maxMessage()
	}
	return o.MaxBuffered
}

func (o Options) helloTimeout() time.Duration {
	if o.HelloTimeout <= 0 {
		return time.Duration(helloTime.Load())
	}
	return o.HelloTimeout
}

// A stranger is a connection that has not introduced itself.

// meetLocked counts s among the strangers; another may have to go in its place. The server's mutex is held.
func (sv *server) meetLocked(s *session) {
	if len(sv.strangers) >= maxStrangers {
		sv.displaceLocked()
	}
	sv.strangers = append(sv.strangers, s)
}

// displaceLocked has the oldest stranger go, if there is one. The server's mutex is held.
func (sv *server) displaceLocked() {
	if len(sv.strangers) == 0 {
		return
	}
	s := sv.strangers[0]
	sv.strangers = sv.strangers[1:]
	s.displaced.Store(true)
	s.stream.conn.SetReadDeadline(time.Unix(1, 0)) // it goes as if its time were over
}

// forgetLocked ends meetLocked. The server's mutex is held.
func (sv *server) forgetLocked(s *session) {
	for i, known := range sv.strangers {
		if known == s {
			sv.strangers = append(sv.strangers[:i], sv.strangers[i+1:]...)
			return
		}
	}
}

// enter counts s, which has introduced itself, among the connected, or says why not.
func (sv *server) enter(s *session) error {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	sv.forgetLocked(s)
	if limit := sv.options.MaxConnections; limit > 0 && sv.entered >= limit {
		return &failure{codeLimit, fmt.Sprintf("%d processes are connected, which is all that the server's Options.MaxConnections allows", sv.entered)}
	}
	sv.entered++
	s.entered = true
	return nil
}

// refuseConnection tells a peer that has not been let in why. It does not wait for the peer: the words fit in any socket's buffer.
func (s *session) refuseConnection(err error) {
	var f *failure
	switch {
	case errors.As(err, &f):
	case s.displaced.Load():
		f = &failure{codeLimit, "too many connections have not introduced themselves, or there are no descriptors left, and this was the oldest of them"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		f = &failure{codeLimit, fmt.Sprintf("no hello came within %v (the server's Options.HelloTimeout)", s.server.options.helloTimeout())}
	default:
		return
	}
	s.stream.conn.SetWriteDeadline(time.Now().Add(refusalTime))
	s.mu.Lock()
	s.appendFailureLocked(0, f)
	b := s.out
	s.out = nil
	s.mu.Unlock()
	s.stream.conn.Write(b)
}

// refusalTime is how long a refusal may take.
const refusalTime = 100 * time.Millisecond

// refusal returns what a server says in the place of a hello or of a step of the handshake, if that is what it is: an array of 0, a code and a text.
func refusal(payload []byte) error {
	if len(payload) < 3 || payload[0] != 0x83 || payload[1] != 0 {
		return nil
	}
	r := itemReader{b: payload}
	r.array()
	r.uint()
	f := failure{r.uint(), r.text()}
	if r.end(); r.err != nil {
		return nil
	}
	return remoteError(&f)
}
