package tcp

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/ringrun/ringrun/ring"
)

// FuzzLink: a link returns the frames that are in the bytes, and then fails.
func FuzzLink(f *testing.F) {
	frame := ring.Header{Kind: ring.Data, Epoch: 1, Length: 3}.AppendTo(nil)
	f.Add(append(append(frame, "abc"...), ring.Header{Kind: ring.Bye}.AppendTo(nil)...), uint8(2))
	f.Add(append(frame, "ab"...), uint8(200))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		here, there := net.Pipe()
		here.SetDeadline(time.Now().Add(10 * time.Second))
		plain := newPlain(here, ring.Edge{Peer: "p1"}, func(func()) bool { return false })
		checkFrames(t, plain, there, b, int(step)+1)

		tr := group(t, 1, nil)[0]
		here, there = sockets(t)
		checkFrames(t, tr.newLink(here, nil, ring.Edge{Peer: "p1"}), there, b, int(step)+1)
		tr.Close()
	})
}

// sockets returns the two ends of a connection.
func sockets(t *testing.T) (here, there net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if here, err = net.Dial("tcp", ln.Addr().String()); err == nil {
		there, err = ln.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	return here, there
}

// checkFrames writes b to one end of a link and reads frames at the other, which
// it closes.
func checkFrames(t *testing.T, l ring.Link, there net.Conn, b []byte, step int) {
	t.Helper()
	defer l.Close()
	go func() {
		there.Write(b)
		there.Close()
	}()
	for rest := b; ; {
		h, err := l.Next()
		want, wantErr := ring.ParseHeader(rest)
		if err != nil && wantErr == nil || err == nil && (wantErr != nil || h != want) {
			t.Fatalf("Next = %+v, %v; want %+v, %v", h, err, want, wantErr)
		}
		if err != nil {
			return
		}
		rest = rest[ring.HeaderBytes:]
		body := rest[:min(len(rest), int(h.Length))]
		got, err := readAll(l, step)
		if !bytes.Equal(got, body) || (err == nil) != (len(body) == int(h.Length)) {
			t.Fatalf("body %x, %v; want %x of %d bytes", got, err, body, h.Length)
		}
		if err != nil {
			return
		}
		rest = rest[h.Length:]
	}
}

// readAll reads a body in steps.
func readAll(l ring.Link, step int) (got []byte, err error) {
	buf := make([]byte, step)
	for {
		n, err := l.Read(buf)
		got = append(got, buf[:n]...)
		if err == io.EOF {
			return got, nil
		}
		if err != nil {
			return got, err
		}
	}
}
