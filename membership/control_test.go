package membership

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestControl(t *testing.T) {
	secret := randomBytes(minSecret)
	serve := func(h http.Handler) *transport {
		tr, err := listen(Config{ID: "a", Run: "run", Secret: secret, Bind: "127.0.0.1:0", Control: h}.withDefaults())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tr.Shutdown() })
		return tr
	}
	get := func(tr *transport, secret []byte, run string) (string, error) {
		c, err := ControlClient(secret, run)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(t.Context(), ample)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", "http://"+tr.listener.Addr().String()+"/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return string(b), err
	}
	tr := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello ", r.URL.Path) }))
	if got, err := get(tr, secret, "run"); got != "hello /x" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	for want, from := range map[string]struct {
		secret []byte
		run    string
	}{
		"has another secret": {randomBytes(minSecret), "run"},
		`it is of run "run"`: {secret, "other"},
	} {
		if got, err := get(tr, from.secret, from.run); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, %v; want an error with %q", got, err, want)
		}
	}
	if got, err := get(serve(nil), secret, "run"); err == nil {
		t.Errorf("a peer without control answers %q", got)
	}
}

// Who can say hello without TLS, because another told it how, gets nothing.
func TestControlWantsCertificate(t *testing.T) {
	secret := randomBytes(minSecret)
	server, err := TLS(secret, "run", "a")
	if err != nil {
		t.Fatal(err)
	}
	for name, client := range map[string]*tls.Config{
		"none":           {InsecureSkipVerify: true},
		"another secret": mustTLS(t, randomBytes(minSecret), "run"),
		"another run":    mustTLS(t, secret, "other"),
	} {
		a, b := net.Pipe()
		go func() {
			_ = tls.Client(b, client).Handshake() // it is for the server to refuse
			b.Close()                             // or it waits for somebody to read why
		}()
		a.SetDeadline(time.Now().Add(ample))
		if err := tls.Server(a, server).Handshake(); err == nil {
			t.Errorf("%s: let in", name)
		}
		a.Close()
		b.Close()
	}
}

func mustTLS(t *testing.T, secret []byte, run string) *tls.Config {
	c, err := TLS(secret, run, "b")
	if err != nil {
		t.Fatal(err)
	}
	c.InsecureSkipVerify = true
	return c
}
