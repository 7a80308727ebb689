package pipe

import "time"

// Options are for Listen and Dial. The zero value works.
type Options struct {
	// AuthKey is the secret that both sides must know. nil means that there is no handshake, and must be nil on both sides: then everybody
	// who can reach the socket is let in. An empty key that is not nil is a key like any other, as in Python since 3.13, and protects
	// from nobody.
	AuthKey []byte

	// MaxMessage is the length in bytes of the longest message to receive. 0 is DefaultMaxMessage, 1 GiB.
	MaxMessage int

	// RefuseMD5 refuses peers that authenticate by HMAC-MD5, as Python does up to 3.11. It is always on in a program
	// that enforces FIPS 140.
	RefuseMD5 bool

	// HandshakeTimeout is how long a Listener lets a client take to authenticate. 0 is 10 s. Dial is bounded by its ctx instead, because a
	// listener may be slow for good reason: Python's authenticates in accept, one client after the other.
	HandshakeTimeout time.Duration
}

const defaultHandshakeTimeout = 10 * time.Second
