package manager

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
)

// TLS on TCP. The key (Options.AuthKey) is still proved, inside: TLS says which server this is and hides what is said, the key
// says who may come in.
//
// A tls.Config does not cross to other processes: it consists of functions and of what the standard library hides. What crosses in its place, with a
// handle, is the fingerprint of the certificate that the server has shown to the sender, and the receiver takes that one and no other.

// fingerprint is the SHA-256 of a certificate.
type fingerprint [sha256.Size]byte

// pinned is the configuration of a client that knows the server's certificate.
func pinned(pin fingerprint) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// No chain and no name are checked: the certificate itself is. VerifyConnection runs for every connection, resumed ones included.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return errors.New("the server has shown no certificate")
			}
			sum := sha256.Sum256(s.PeerCertificates[0].Raw)
			if subtle.ConstantTimeCompare(sum[:], pin[:]) != 1 {
				return errors.New("the server shows another certificate than it did to the process that sent the handle")
			}
			return nil
		},
	}
}

// secure makes a connection to t's server one of TLS, if it is to be.
func (t target) secure(ctx context.Context, c net.Conn) (net.Conn, error) {
	if t.tls == nil {
		return c, nil
	}
	o := t.tls
	if o.ServerName == "" && !o.InsecureSkipVerify {
		host, _, err := net.SplitHostPort(t.address)
		if err != nil {
			return nil, err
		}
		o = o.Clone()
		o.ServerName = host
	}
	s := tls.Client(c, o)
	if err := s.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return s, nil
}

// pin returns what another process needs to know the server of this connection again.
func (c *client) pin() ([]byte, error) {
	if c.target.tls == nil || c.target.pinned != nil {
		return c.target.pinned, nil
	}
	if len(c.target.tls.Certificates) > 0 || c.target.tls.GetClientCertificate != nil {
		return nil, errors.New("manager: the connection shows a certificate of this process (Options.TLS), which other processes do not have: let them Connect")
	}
	ctx, cancel := answerSoon()
	defer cancel()
	if err := c.waitReady(ctx); err != nil {
		return nil, noAnswer(c, err)
	}
	conn, ok := c.stream.conn.(*tls.Conn)
	if !ok {
		return nil, nil
	}
	sum := sha256.Sum256(conn.ConnectionState().PeerCertificates[0].Raw)
	return sum[:], nil
}

// serverTLS is what a server process that Start starts gets of Options.TLS.
type serverTLS struct {
	Certificates           []certificate
	MinVersion, MaxVersion uint16
}

// A certificate is its chain, and its key in PKCS #8.
type certificate struct {
	Chain [][]byte
	Key   []byte
}

// passTLS describes c to a server process, and returns by what its clients know it.
func passTLS(c *tls.Config) (_ *serverTLS, pin fingerprint, err error) {
	if c == nil {
		return nil, pin, nil
	}
	if c.GetCertificate != nil || c.GetConfigForClient != nil || c.ClientAuth != tls.NoClientCert || c.VerifyConnection != nil || c.VerifyPeerCertificate != nil {
		return nil, pin, errors.New("manager: Start passes Certificates, MinVersion and MaxVersion of Options.TLS to the server's process, and can pass nothing else: for client certificates or functions, Serve in a process of yours")
	}
	if len(c.Certificates) == 0 {
		return nil, pin, errors.New("manager: Options.TLS has no Certificates")
	}
	s := &serverTLS{MinVersion: c.MinVersion, MaxVersion: c.MaxVersion}
	for _, cert := range c.Certificates {
		key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
		if err != nil || len(cert.Certificate) == 0 {
			return nil, pin, fmt.Errorf("manager: a certificate of Options.TLS cannot be passed to the server's process: %w", err)
		}
		s.Certificates = append(s.Certificates, certificate{cert.Certificate, key})
	}
	return s, sha256.Sum256(s.Certificates[0].Chain[0]), nil
}

// config is what passTLS described.
func (s *serverTLS) config() (*tls.Config, error) {
	if s == nil {
		return nil, nil
	}
	c := &tls.Config{MinVersion: s.MinVersion, MaxVersion: s.MaxVersion}
	for _, cert := range s.Certificates {
		key, err := x509.ParsePKCS8PrivateKey(cert.Key)
		if err != nil {
			return nil, fmt.Errorf("manager: %w", err)
		}
		c.Certificates = append(c.Certificates, tls.Certificate{Certificate: cert.Chain, PrivateKey: key})
	}
	return c, nil
}
