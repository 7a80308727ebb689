// Package auth has two ends of a connection prove to each other that they know the same key, without showing it: the handshake of
// Python's multiprocessing.connection, old and new.
//
// Neither side believes the other: frames are bounded, sums compared in constant time. What it does not do is hide anything or bind what is
// said later to the key: somebody in the middle who passes the handshake on can go on in its place. Against that there is TLS.
//
// A peer that dies, or is silent, is an error of the Frames, which are to have a deadline. There is nothing to close.
//
//	key := auth.Key{Secret: secret}
//	err := key.Listener(frames) // and key.Client on the other side
package auth

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
)

// The listener challenges first, then the client challenges the listener:
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

// Frames is the connection: whole frames, of at most max bytes.
type Frames interface {
	ReadFrame(max int) ([]byte, error)
	WriteFrame(b []byte) error
}

// A Key is a secret, and what it may be used with.
type Key struct {
	Secret []byte

	// RefuseMD5 refuses peers that know nothing better (Python up to 3.11). It is implied where FIPS 140 is enforced, where HMAC-MD5 would panic.
	RefuseMD5 bool
}

func (k Key) refusesMD5() bool { return k.RefuseMD5 || fips140.Enforced() }

// Listener runs the side that was connected to. Errors say at which step it failed.
func (k Key) Listener(f Frames) error {
	if err := k.challenge(f); err != nil {
		return err
	}
	return k.prove(f)
}

// Client runs the side that has connected.
func (k Key) Client(f Frames) error {
	if err := k.prove(f); err != nil {
		return err
	}
	return k.challenge(f)
}

var (
	errMD5      = errors.New("the peer uses MD5 (Python 3.11 and before), which RefuseMD5 forbids")
	errMismatch = errors.New("digest received was wrong: the peer has another key")
	errRejected = errors.New("digest sent was rejected: the peer has another key")
)

// challenge makes the peer prove that it knows the key.
func (k Key) challenge(f Frames) error {
	m := make([]byte, len(challengeDigest)+challengeRandom)
	rand.Read(m[copy(m, challengeDigest):])
	if err := f.WriteFrame(append([]byte(challengePrefix), m...)); err != nil {
		return fmt.Errorf("sending a challenge: %w", err)
	}
	r, err := f.ReadFrame(handshakeMax)
	if err != nil {
		return fmt.Errorf("waiting for the answer to a challenge: %w", err)
	}
	if err := k.verify(m, r); err != nil {
		f.WriteFrame([]byte(failure)) // the connection ends anyhow
		return err
	}
	if err := f.WriteFrame([]byte(welcome)); err != nil {
		return fmt.Errorf("sending the welcome: %w", err)
	}
	return nil
}

// verify checks the answer r to the challenge m.
func (k Key) verify(m, r []byte) error {
	d, sum := &digests[0], r
	if len(r) != md5.Size { // that of Python 3.11 and before has no name
		if d, sum = named(r); d == nil {
			return fmt.Errorf("the answer to a challenge is none: %.40q", r)
		}
	}
	if k.refusesMD5() && d == &digests[0] {
		return errMD5
	}
	if !hmac.Equal(d.sum(k.Secret, m), sum) {
		return errMismatch
	}
	return nil
}

// prove answers the peer's challenge.
func (k Key) prove(f Frames) error {
	b, err := f.ReadFrame(handshakeMax)
	if err != nil {
		return fmt.Errorf("waiting for a challenge: %w", err)
	}
	m, ok := bytes.CutPrefix(b, []byte(challengePrefix))
	if !ok {
		return fmt.Errorf("the peer does not challenge, so it wants no key, or is no multiprocessing peer: it sent %.40q", b)
	}
	r, err := k.answer(m)
	if err != nil {
		return err
	}
	if err := f.WriteFrame(r); err != nil {
		return fmt.Errorf("sending an answer: %w", err)
	}
	b, err = f.ReadFrame(handshakeMax)
	switch {
	case err != nil:
		return fmt.Errorf("waiting for the peer's verdict: %w", err)
	case string(b) == failure:
		return errRejected
	case string(b) != welcome:
		return fmt.Errorf("the peer's verdict is none: %.40q", b)
	}
	return nil
}

// answer returns the answer to the challenge m.
func (k Key) answer(m []byte) ([]byte, error) {
	if len(m) < legacyRandom {
		return nil, fmt.Errorf("the peer's challenge is too short: %d bytes", len(m))
	}
	if len(m) == legacyRandom {
		if k.refusesMD5() {
			return nil, errMD5
		}
		return digests[0].sum(k.Secret, m), nil
	}
	d, _ := named(m)
	switch {
	case d == nil:
		return nil, fmt.Errorf("the peer's challenge is of no kind known: %.40q", m)
	case k.refusesMD5() && d == &digests[0]:
		return nil, errMD5
	}
	return append([]byte("{"+d.name+"}"), d.sum(k.Secret, m)...), nil
}
