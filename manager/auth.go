package manager

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// Before the hello, if there is a key, each side proves to the other that it knows it, without showing it: the handshake of
// Python's multiprocessing.connection in the form of 3.12 and later, SHA-256 only. The listener challenges first.
//
//	challenger                                prover
//	#CHALLENGE#{sha256} + 40 random bytes →
//	                                      ←   {sha256} + HMAC-SHA256(key, {sha256} + the random bytes)
//	#WELCOME# or #FAILURE#                →
const (
	authChallenge = "#CHALLENGE#"
	authDigest    = "{sha256}"
	authRandom    = 40
	authWelcome   = "#WELCOME#"
	authFailure   = "#FAILURE#"
)

// errAuth is in the error of a connection on which a key was not proved.
var errAuth = errors.New("authentication failed")

// proveAndChallenge is the connecting side, challengeAndProve the listening one.
func proveAndChallenge(s *stream, key []byte) error {
	if err := prove(s, key); err != nil {
		return err
	}
	return challenge(s, key)
}

func challengeAndProve(s *stream, key []byte) error {
	if err := challenge(s, key); err != nil {
		return err
	}
	return prove(s, key)
}

func challenge(s *stream, key []byte) error {
	m := append([]byte(authDigest), make([]byte, authRandom)...)
	rand.Read(m[len(authDigest):])
	if err := s.writeFrame(append([]byte(authChallenge), m...)); err != nil {
		return fmt.Errorf("%w: sending a challenge: %w", errAuth, err)
	}
	answer, err := s.readFrame()
	if err != nil {
		return fmt.Errorf("%w: waiting for the answer to a challenge: %w", errAuth, err)
	}
	sum, ok := bytes.CutPrefix(answer, []byte(authDigest))
	if !ok || !hmac.Equal(sum, authSum(key, m)) {
		s.writeFrame([]byte(authFailure)) // the connection ends anyhow
		return fmt.Errorf("%w: the other side has another key", errAuth)
	}
	if err := s.writeFrame([]byte(authWelcome)); err != nil {
		return fmt.Errorf("%w: sending the welcome: %w", errAuth, err)
	}
	return nil
}

func prove(s *stream, key []byte) error {
	b, err := s.readFrame()
	if err != nil {
		return fmt.Errorf("%w: waiting for a challenge: %w", errAuth, err)
	}
	m, ok := bytes.CutPrefix(b, []byte(authChallenge))
	if !ok || !bytes.HasPrefix(m, []byte(authDigest)) || len(m) < len(authDigest)+16 {
		return fmt.Errorf("%w: the other side sends no challenge: it has no AuthKey, or is no manager", errAuth)
	}
	if err := s.writeFrame(append([]byte(authDigest), authSum(key, m)...)); err != nil {
		return fmt.Errorf("%w: sending an answer: %w", errAuth, err)
	}
	b, err = s.readFrame()
	switch {
	case err == nil && string(b) == authWelcome:
		return nil
	case err == nil && string(b) == authFailure, errors.Is(err, io.EOF):
		return fmt.Errorf("%w: the other side has another key", errAuth)
	case err == nil:
		err = errors.New("the verdict is none")
	}
	return fmt.Errorf("%w: waiting for the verdict: %w", errAuth, err)
}

func authSum(key, m []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(m)
	return h.Sum(nil)
}
