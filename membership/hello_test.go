package membership

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func testDoor(id, run, secret string) *doorman {
	return newDoorman(Config{ID: id, Run: run, Secret: []byte(secret)})
}

const testSecret = "sixteen bytes or more"

// shake lets two doormen greet each other over a pipe.
func shake(t *testing.T, dialer, acceptor *doorman, kind byte) (w welcome, dialErr error, got byte, acceptErr error) {
	t.Helper()
	a, b := net.Pipe()
	deadline := time.Now().Add(ample)
	a.SetDeadline(deadline)
	b.SetDeadline(deadline)
	done := make(chan struct{})
	go func() {
		defer close(done)
		got, acceptErr = acceptor.answer(b, true)
		b.Close()
	}()
	w, dialErr = dialer.knock(a, kind)
	a.Close()
	<-done
	return w, dialErr, got, acceptErr
}

// Two peers of one run greet each other, once for a stream and once for a probe.
func TestHello(t *testing.T) {
	for _, kind := range []byte{helloStream, helloProbe} {
		a, b := testDoor("a", "run", testSecret), testDoor("b", "run", testSecret)
		w, dialErr, got, acceptErr := shake(t, a, b, kind)
		if dialErr != nil || acceptErr != nil {
			t.Fatalf("kind %d: dialer %v, acceptor %v", kind, dialErr, acceptErr)
		}
		if got != kind || w.id != "b" || !w.grouped || w.start != b.start {
			t.Errorf("kind %d: acceptor saw kind %d, dialer saw %+v", kind, got, w)
		}
	}
}

// Whoever is not one of us is told apart by name.
func TestHelloMismatch(t *testing.T) {
	for _, tt := range []struct {
		name         string
		run, secret  string
		dial, accept string // what their errors must say
	}{
		{"run", "other", testSecret, `of run "other", and this peer of run "run"`, `of another run, "run"`},
		{"secret", "run", "another secret, long enough", "another secret", "EOF"},
	} {
		a, b := testDoor("a", "run", testSecret), testDoor("b", tt.run, tt.secret)
		_, dialErr, _, acceptErr := shake(t, a, b, helloStream)
		if dialErr == nil || !strings.Contains(dialErr.Error(), tt.dial) || !final(dialErr) {
			t.Errorf("%s: dialer says %v, want %q", tt.name, dialErr, tt.dial)
		}
		if acceptErr == nil || !strings.Contains(acceptErr.Error(), tt.accept) {
			t.Errorf("%s: acceptor says %v, want %q", tt.name, acceptErr, tt.accept)
		}
	}
}

// A dialer that does not check the acceptor's proof still has to give its own.
func TestHelloForgedProof(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	a.SetDeadline(time.Now().Add(ample))
	result := make(chan error, 1)
	go func() {
		defer b.Close()
		_, err := testDoor("b", "run", testSecret).answer(b, true)
		result <- err
	}()
	h := hello{run: "run", id: "forger"}
	a.Write(greeting{version: helloVersion, kind: helloStream, body: h.appendTo(nil)}.appendTo(nil))
	if _, err := readGreeting(a); err != nil {
		t.Fatal(err)
	}
	a.Write(greeting{version: helloVersion, kind: helloProof, body: make([]byte, proofBytes)}.appendTo(nil))
	var refused *refusedError
	if err := <-result; !errors.As(err, &refused) || !strings.Contains(err.Error(), `"forger"`) {
		t.Errorf("acceptor says %v, want a refusal that names the forger", err)
	}
}

// A proof heard in one handshake is of no use in the next.
func TestHelloReplay(t *testing.T) {
	a, b := testDoor("a", "run", testSecret), testDoor("b", "run", testSecret)
	var said bytes.Buffer
	x, y := net.Pipe()
	go func() {
		defer y.Close()
		b.answer(y, true)
	}()
	if _, err := a.knock(tee{x, &said}, helloStream); err != nil {
		t.Fatal(err)
	}
	x.Close()
	kind, err := b.answer(struct {
		io.Reader
		io.Writer
	}{&said, io.Discard}, true)
	if err == nil {
		t.Errorf("a replayed hello of kind %d was accepted", kind)
	}
}

// A tee copies what is written.
type tee struct {
	io.ReadWriter
	copy io.Writer
}

func (t tee) Write(b []byte) (int, error) {
	t.copy.Write(b)
	return t.ReadWriter.Write(b)
}

// A peer of another version is named on both sides, whatever its bodies hold.
func TestHelloVersion(t *testing.T) {
	ours := testDoor("a", "run", testSecret)
	theirs := greeting{version: helloVersion + 1, kind: 77, body: []byte("nobody knows")}.appendTo(nil)

	var out bytes.Buffer
	_, err := ours.answer(pair{bytes.NewReader(theirs), &out}, true)
	if err == nil || !strings.Contains(err.Error(), "speaks version 3, not 2") {
		t.Errorf("acceptor says %v", err)
	}
	answer, err := readGreeting(&out)
	if err != nil || answer.kind != helloRefusal || string(answer.body) != "run" {
		t.Errorf("it was answered %+v, %v", answer, err)
	}

	_, err = ours.knock(pair{bytes.NewReader(theirs), io.Discard}, helloProbe)
	if err == nil || !strings.Contains(err.Error(), "speaks version 3 and this program version 2") {
		t.Errorf("dialer says %v", err)
	}
}

type pair struct {
	io.Reader
	io.Writer
}

// A stranger is recognised by its first byte: it may be waiting for us.
func TestHelloStranger(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	go w.Write([]byte("SSH-2.0-OpenSSH_9.9\r\n")) // and then waits
	_, err := readGreeting(r)
	var stranger *strangerError
	if !errors.As(err, &stranger) || !strings.Contains(err.Error(), "SSH") {
		t.Errorf("got %v, want a stranger that says SSH", err)
	}
}

func FuzzGreeting(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		g, err := readGreeting(r)
		if err != nil {
			return
		}
		if got, read := g.appendTo(nil), b[:len(b)-r.Len()]; !bytes.Equal(got, read) {
			t.Fatalf("read %q, which encodes to %q", read, got)
		}
		if h, err := parseHello(g.body); err == nil && !bytes.Equal(h.appendTo(nil), g.body) {
			t.Fatalf("hello %q parsed as %+v", g.body, h)
		}
		if w, err := parseWelcome(g.body); err == nil && !bytes.Equal(w.appendTo(nil), g.body) {
			t.Fatalf("welcome %q parsed as %+v", g.body, w)
		}
	})
}

// Nobody gets past the doorman with bytes made up beforehand.
func FuzzHandshake(f *testing.F) {
	d := testDoor("a", "run", testSecret)
	f.Fuzz(func(t *testing.T, b []byte) {
		if kind, err := d.answer(pair{bytes.NewReader(b), io.Discard}, true); err == nil && kind != helloProbe {
			t.Fatalf("accepted a stream that says %q", b)
		}
		if w, err := d.knock(pair{bytes.NewReader(b), io.Discard}, helloStream); err == nil {
			t.Fatalf("was welcomed, %+v, by %q", w, b)
		}
	})
}
