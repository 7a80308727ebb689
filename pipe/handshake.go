package pipe

import (
	"bytes"
	"crypto/fips140"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"syscall"

	"github.com/go-multiproc/multiproc/internal/wire"
)

// The handshake of multiprocessing.connection. The listener challenges first, then the client challenges the listener:
//
//	challenger                          prover
//	#CHALLENGE# + M            →
//	                           ←        R
//	#WELCOME# or #FAILURE#     →
//
// Up to Python 3.11, M is 20 random bytes and R is HMAC-MD5(key, M). From 3.12 on, M is {sha256} and 40 random bytes, and R is
// {sha256} + HMAC-SHA256(key, M), M with its prefix. A 3.11 client that is challenged so takes the whole of M for random bytes.
// We always send the modern challenge, and take both answers.
const (
	challengePrefix = "#CHALLENGE#"
	welcome         = "#WELCOME#"
	failure         = "#FAILURE#"

	// handshakeMax bounds every frame of it, before we know who sends.
	handshakeMax = 256

	challengeDigest = "{sha256}"
	challengeRandom = 40
	legacyRandom    = 20 // the length by which an old challenge is known
)

// A digest is one that peers may ask for by name.
type digest struct {
	name string
	new  func() hash.Hash
}

// digests, the weakest first.
var digests = [...]digest{
	{"md5", md5.New},
	{"sha256", sha256.New},
	{"sha384", sha512.New384},
	{"sha3_256", func() hash.Hash { return sha3.New256() }},
	{"sha3_384", func() hash.Hash { return sha3.New384() }},
}

// sum returns the digest's HMAC of message.
func (d *digest) sum(key, message []byte) []byte {
	h := hmac.New(d.new, key)
	h.Write(message)
	return h.Sum(nil)
}

// named splits {name}rest. It returns nil if b does not start so, or the name is unknown.
func named(b []byte) (d *digest, rest []byte) {
	if len(b) == 0 || b[0] != '{' {
		return nil, nil
	}
	name, rest, ok := bytes.Cut(b[1:], []byte("}"))
	if !ok {
		return nil, nil
	}
	for i := range digests {
		if digests[i].name == string(name) {
			return &digests[i], rest
		}
	}
	return nil, nil
}

// An authenticator knows a key, and what it may be used with.
type authenticator struct {
	key       []byte
	refuseMD5 bool
}

func newAuthenticator(o Options) *authenticator {
	// A program confined to FIPS 140 would panic in HMAC-MD5.
	return &authenticator{key: bytes.Clone(o.AuthKey), refuseMD5: o.RefuseMD5 || fips140.Enforced()}
}

// asListener runs the listener's side.
func (a *authenticator) asListener(w *wire.Conn) error {
	if err := a.challenge(w); err != nil {
		return err
	}
	return a.prove(w)
}

// asClient runs the client's side.
func (a *authenticator) asClient(w *wire.Conn) error {
	if err := a.prove(w); err != nil {
		return err
	}
	return a.challenge(w)
}

var (
	errMD5      = errors.New("the peer uses MD5 (Python 3.11 and before), which RefuseMD5 forbids")
	errMismatch = errors.New("digest received was wrong: the peer has another key")
	errRejected = errors.New("digest sent was rejected: the peer has another key")
)

// challenge makes the peer prove that it knows the key.
func (a *authenticator) challenge(w *wire.Conn) error {
	m := make([]byte, len(challengeDigest)+challengeRandom)
	rand.Read(m[copy(m, challengeDigest):])
	if err := w.WriteFrame(append([]byte(challengePrefix), m...), nil); err != nil {
		return authError("sending a challenge", err)
	}
	r, err := readHandshake(w)
	if err != nil {
		return authError("waiting for the answer to a challenge", err)
	}
	if err := a.verify(m, r); err != nil {
		w.WriteFrame([]byte(failure), nil) // the connection ends anyhow
		return authError("", err)
	}
	if err := w.WriteFrame([]byte(welcome), nil); err != nil {
		return authError("sending the welcome", err)
	}
	return nil
}

// verify checks the answer r to the challenge m.
func (a *authenticator) verify(m, r []byte) error {
	d, sum := &digests[0], r
	if len(r) != md5.Size { // that of Python 3.11 and before has no name
		if d, sum = named(r); d == nil {
			return fmt.Errorf("the answer to a challenge is none: %.40q", r)
		}
	}
	if a.refuseMD5 && d == &digests[0] {
		return errMD5
	}
	if !hmac.Equal(d.sum(a.key, m), sum) {
		return errMismatch
	}
	return nil
}

// prove answers the peer's challenge.
func (a *authenticator) prove(w *wire.Conn) error {
	b, err := readHandshake(w)
	if err != nil {
		return authError("waiting for a challenge", err)
	}
	m, ok := bytes.CutPrefix(b, []byte(challengePrefix))
	if !ok {
		return authError("", fmt.Errorf("the peer does not challenge, so it wants no key, or is no multiprocessing peer: it sent %.40q", b))
	}
	r, err := a.answer(m)
	if err != nil {
		return authError("", err)
	}
	if err := w.WriteFrame(r, nil); err != nil {
		return authError("sending an answer", err)
	}
	b, err = readHandshake(w)
	switch {
	case err != nil:
		return authError("waiting for the peer's verdict", err)
	case string(b) == failure:
		return authError("", errRejected)
	case string(b) != welcome:
		return authError("", fmt.Errorf("the peer's verdict is none: %.40q", b))
	}
	return nil
}

// answer returns the answer to the challenge m.
func (a *authenticator) answer(m []byte) ([]byte, error) {
	if len(m) < legacyRandom {
		return nil, fmt.Errorf("the peer's challenge is too short: %d bytes", len(m))
	}
	if len(m) == legacyRandom {
		if a.refuseMD5 {
			return nil, errMD5
		}
		return digests[0].sum(a.key, m), nil
	}
	d, _ := named(m)
	switch {
	case d == nil:
		return nil, fmt.Errorf("the peer's challenge is of no kind known: %.40q", m)
	case a.refuseMD5 && d == &digests[0]:
		return nil, errMD5
	}
	return append([]byte("{"+d.name+"}"), d.sum(a.key, m)...), nil
}

// readHandshake reads one frame of the handshake. Descriptors have no business in it.
func readHandshake(w *wire.Conn) ([]byte, error) {
	b, fds, err := w.ReadFrame(handshakeMax)
	closeAll(fds)
	return b, err
}

// authError says that the handshake failed, and at which step.
func authError(step string, err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		err = fmt.Errorf("the peer closed the connection: %w", err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("the peer is silent: %w", err)
	case errors.Is(err, wire.ErrTooLarge), errors.Is(err, wire.ErrProtocol):
		err = fmt.Errorf("the peer speaks no handshake: %w", err)
	}
	if step == "" {
		return fmt.Errorf("%w: %w", ErrAuth, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrAuth, step, err)
}
