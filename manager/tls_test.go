package manager_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/process"
)

// newCertificate makes a certificate for 127.0.0.1, and a pool that trusts it.
func newCertificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "test"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestTLS(t *testing.T) {
	ctx := testContext(t)
	cert, pool := newCertificate(t)
	other, otherPool := newCertificate(t)
	key := []byte("secret")
	o := manager.Options{Network: "tcp", Address: "127.0.0.1:0", AuthKey: key, TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, HelloTimeout: 2 * time.Second}
	m := start(t, o)
	works(t, m)
	addr := m.Addr().String()
	dial := func(c *tls.Config, key string) (*manager.Manager, error) {
		return manager.Connect(ctx, "tcp", addr, manager.Options{AuthKey: []byte(key), TLS: c})
	}
	remote, err := dial(&tls.Config{RootCAs: pool}, "secret")
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	works(t, remote)
	for _, tt := range []struct {
		name   string
		config *tls.Config
		key    string
		says   string
	}{
		{"a client that trusts somebody else", &tls.Config{RootCAs: otherPool}, "secret", "certificate"},
		{"another name", &tls.Config{RootCAs: pool, ServerName: "example.com"}, "secret", "certificate"},
		{"another key", &tls.Config{RootCAs: pool}, "wrong", "key"},
		{"no TLS", nil, "secret", "Options.TLS"},
	} {
		if m, err := dial(tt.config, tt.key); err == nil {
			t.Errorf("%s: connected", tt.name)
			m.Close()
		} else if !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}

	// Handles cross to children of both: these know the server by its certificate.
	for name, m := range map[string]*manager.Manager{"the owner's": m, "another client's": remote} {
		d, err := manager.NewDict[string, int](m)
		if err != nil {
			t.Fatal(err)
		}
		join(t, run(t, useRemotely, d), run(t, useRemotely, d))
		if n, _, err := d.Get(ctx, "n"); n != 2 || err != nil {
			t.Errorf("%s: n = %d, %v", name, n, err)
		}
	}

	// A server that asks for clients' certificates takes Serve, and its handles do not cross.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	strict := manager.Options{AuthKey: key, TLS: &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: otherPool}}
	done := make(chan struct{})
	go func() { defer close(done); manager.Serve(l, strict) }()
	defer func() { l.Close(); <-done }()
	addr = l.Addr().String()
	known, err := dial(&tls.Config{RootCAs: pool, Certificates: []tls.Certificate{other}}, "secret")
	if err != nil {
		t.Fatal(err)
	}
	defer known.Close()
	works(t, known)
	d, err := manager.NewDict[string, int](known)
	if err != nil {
		t.Fatal(err)
	}
	if err := process.New(useRemotely, d).Start(); err == nil || !strings.Contains(err.Error(), "let them Connect") {
		t.Errorf("handing over a handle that needs our certificate: %v", err)
	}
	if m, err := dial(&tls.Config{RootCAs: pool}, "secret"); err == nil {
		t.Error("connected without the certificate that the server asks for")
		m.Close()
	}
	strict.Network, strict.Address = "tcp", "127.0.0.1:0"
	if _, err := manager.Start(strict); err == nil || !strings.Contains(err.Error(), "Serve") {
		t.Errorf("Start with client certificates: %v", err)
	}
}
