package tcp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// testTLS returns what both ends of a TLS connection need, as the secret of a
// run would give it.
var testTLS = sync.OnceValue(newTLS)

func newTLS() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, ServerName: "test",
		RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}
}

func always(_ int, cfg *Config) { cfg.TLS, cfg.Privacy = testTLS(), Always }

// TestSealedTransport: encrypted links keep all promises, polled or not.
func TestSealedTransport(t *testing.T) {
	for name, plain := range map[string]bool{"polled": false, "plain": true} {
		t.Run(name, func(t *testing.T) {
			if plain && testing.Short() {
				t.Skip("what Linux does not use takes some seconds")
			}
			ringtest.TestTransport(t, func(t testing.TB, n int) []ring.Transport {
				ringtest.CheckLeaks(t)
				var ts []ring.Transport
				for _, tr := range group(t, n, always) {
					tr.plain = plain
					ts = append(ts, tr)
				}
				return ts
			})
		})
	}
}

// TestPrivacy opens links between peers of different settings.
func TestPrivacy(t *testing.T) {
	ringtest.CheckLeaks(t)
	never, between := Never, BetweenHosts
	for _, tt := range []struct {
		a, b      Privacy
		encrypted bool
		refused   string
	}{
		{never, never, false, ""},
		{between, between, false, ""}, // loopback is this host
		{between, never, false, ""},
		{between, Always, true, ""},
		{Always, between, true, ""},
		{Always, Always, true, ""},
		{Always, never, false, "you want links encrypted, this peer wants them in the clear"},
		{never, Always, false, "you want links in the clear, this peer wants them encrypted"},
	} {
		ts := group(t, 2, func(i int, cfg *Config) { cfg.TLS, cfg.Privacy = testTLS(), []Privacy{tt.a, tt.b}[i] })
		if tt.refused != "" {
			if err := dial(t, ts[0], 1); err == nil || !strings.Contains(err.Error(), tt.refused) {
				t.Errorf("%d to %d: %v, want %s", tt.a, tt.b, err, tt.refused)
			}
			continue
		}
		if got := wiretap(t, ts[0], ts[1]); got == tt.encrypted {
			t.Errorf("%d to %d: the body can be read on the way: %v, want %v", tt.a, tt.b, got, !tt.encrypted)
		}
	}
}

// wiretap sends a frame from a to b, and reports whether somebody between them
// can read its body.
func wiretap(t *testing.T, a, b *Transport) bool {
	t.Helper()
	heard := &recorder{}
	between(t, a, b, func(way int, there io.Writer) io.Writer {
		if way == 1 {
			return there
		}
		return io.MultiWriter(heard, there) // in this order: what has arrived was heard
	})
	from, to := connect(t, a, b, 1)
	body := []byte("nobody else shall know this")
	if err := from.Send(ring.Header{Kind: ring.Data, Length: uint32(len(body))}, body); err != nil {
		t.Fatal(err)
	}
	if err := ringtest.Receive(to, 1, make([]byte, len(body))); err != nil {
		t.Fatal(err)
	}
	return heard.has(string(body))
}

// between puts a man in the middle of what a dials to b. Each direction of each
// connection, 0 from a to b and 1 back, goes through what tap returns.
func between(t *testing.T, a, b *Transport, tap func(way int, to io.Writer) io.Writer) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() { ln.Close(); running.Wait() })
	a.cfg.Resolve = func(string) ([]string, error) { return []string{ln.Addr().String()}, nil }
	running.Go(func() {
		for {
			here, err := ln.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("tcp", b.Addr())
			if err != nil {
				here.Close()
				return
			}
			for way, ends := range [2][2]net.Conn{{here, there}, {there, here}} {
				running.Go(func() {
					io.Copy(tap(way, ends[1]), ends[0])
					ends[1].(*net.TCPConn).CloseWrite()
				})
			}
		}
	})
}

type recorder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(b)
}

func (r *recorder) has(s string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Contains(r.b.String(), s)
}

// TestForgedBytes: a byte that changes on the way breaks an encrypted link, and
// none of what was forged is read.
func TestForgedBytes(t *testing.T) {
	ringtest.CheckLeaks(t)
	for _, plain := range []bool{false, true} {
		ts := group(t, 2, always)
		ts[0].plain, ts[1].plain = plain, plain
		f := &forger{}
		between(t, ts[0], ts[1], func(way int, to io.Writer) io.Writer {
			if way == 1 {
				return to
			}
			f.to = to
			return f
		})
		from, to := connect(t, ts[0], ts[1], 1)
		body := []byte("some gradient or other")
		h := ring.Header{Kind: ring.Data, Length: uint32(len(body))}
		if err := from.Send(h, body); err != nil {
			t.Fatal(err)
		}
		if err := ringtest.Receive(to, 1, body); err != nil {
			t.Fatalf("before the forgery: %v", err)
		}
		f.forge()
		if err := from.Send(h, body); err != nil {
			t.Fatal(err)
		}
		if err := ringtest.Receive(to, 1, body); err == nil || !strings.Contains(err.Error(), "bad record MAC") {
			t.Errorf("plain %v: got %v, want an error about the record", plain, err)
		}
	}
}

// A forger changes a bit of all that comes after forge.
type forger struct {
	to    io.Writer
	mu    sync.Mutex
	forgd bool
}

func (f *forger) forge() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgd = true
}

func (f *forger) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.forgd {
		b[len(b)-1] ^= 1
	}
	return f.to.Write(b)
}

// TestOtherAuthority: whoever knows the secret of the handshake but has other
// certificates gets no link.
func TestOtherAuthority(t *testing.T) {
	ringtest.CheckLeaks(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var addr string
	tries := 0
	ts := group(t, 2, func(i int, cfg *Config) {
		if always(i, cfg); i == 0 {
			cfg.TLS = newTLS()
			cfg.Resolve = func(string) ([]string, error) {
				if tries++; tries == 3 { // two have failed, and so would all others
					cancel()
				}
				return []string{addr}, nil
			}
		}
	})
	addr = ts[1].Addr()
	accepted := make(chan error, 1)
	go func() {
		_, err := ts[1].Accept(t.Context(), ring.Edge{Self: "p1", Peer: "p0", Epoch: 1})
		accepted <- err
	}()
	if _, err := ts[0].Dial(ctx, ring.Edge{Self: "p0", Peer: "p1", Epoch: 1}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v, want an error about a certificate", err)
	}
	ts[1].Close()
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v, want net.ErrClosed after Close", err)
	}
}
