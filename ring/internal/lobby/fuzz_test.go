package lobby

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/ringrun/ringrun/ring"
)

// FuzzHello: what is read as a hello is written as the same bytes.
func FuzzHello(f *testing.F) {
	f.Add(hello{version: version, run: "r", from: "a", to: "b", epoch: 3, lane: 1}.appendTo(nil, testMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, said, err := readHello(bytes.NewReader(b), testMagic)
		if err != nil || h.version != version {
			return
		}
		if !bytes.HasPrefix(b, said) || !bytes.Equal(h.appendTo(nil, testMagic), said) {
			t.Errorf("%x was read as %+v", b, h)
		}
	})
}

// FuzzStranger: no bytes make a stranger a peer.
func FuzzStranger(f *testing.F) {
	h := hello{version: version, run: "test", from: "p0", to: "p1", epoch: 1}.appendTo(nil, testMagic)
	f.Add(h)
	f.Add(append(h, append([]byte{proof, 0, 32}, make([]byte, 32)...)...))
	cfg := &Config{Transport: "tcp", Magic: testMagic, ID: "p1", Run: "test", Secret: []byte("sixteen bytes or more")}
	f.Fuzz(func(t *testing.T, b []byte) {
		here, there := net.Pipe()
		go func() {
			there.Write(b)
			there.Close()
		}()
		go io.Copy(io.Discard, there)
		if e, _, err := cfg.greet(here); err == nil {
			t.Errorf("%x became a peer: %+v", b, e)
		}
		here.Close()
	})
}

// FuzzReply: a dialer survives whatever answers it, and never believes it.
func FuzzReply(f *testing.F) {
	f.Add(append([]byte{challenge, 0, 65}, make([]byte, 65)...))
	f.Add([]byte("\x02\x00\x05no\x1b[m"))
	cfg := &Config{Transport: "tcp", Magic: testMagic, ID: "p0", Run: "test", Secret: []byte("sixteen bytes or more")}
	f.Fuzz(func(t *testing.T, b []byte) {
		here, there := net.Pipe()
		go io.Copy(io.Discard, there)
		go func() {
			there.Write(b)
			there.Close()
		}()
		_, err := cfg.introduce(here, ring.Edge{Self: "p0", Peer: "p1", Epoch: 1})
		here.Close()
		if err == nil {
			t.Errorf("%x was believed", b)
		}
		if r, ok := errors.AsType[*RefusedError](err); ok && bytes.ContainsAny([]byte(r.Reason), "\x1b\r\n\x07") {
			t.Errorf("%x: reason %q could disturb a terminal", b, r.Reason)
		}
	})
}
