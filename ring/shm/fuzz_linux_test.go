package shm

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/ringrun/ringrun/ring"
	"golang.org/x/sys/unix"
)

// FuzzHello: what is read as a hello is written as the same bytes.
func FuzzHello(f *testing.F) {
	f.Add(hello{version: version, run: "r", from: "a", to: "b", epoch: 3, lane: 1}.appendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, said, err := readHello(bytes.NewReader(b))
		if err != nil || h.version != version {
			return
		}
		if !bytes.HasPrefix(b, said) || !bytes.Equal(h.appendTo(nil), said) {
			t.Errorf("%x was read as %+v", b, h)
		}
	})
}

// FuzzStranger: no bytes make a stranger a peer.
func FuzzStranger(f *testing.F) {
	h := hello{version: version, run: "test", from: "p0", to: "p1", epoch: 1}.appendTo(nil)
	f.Add(h)
	f.Add(append(h, append([]byte{proof, 0, 32}, make([]byte, 32)...)...))
	tr := &Transport{cfg: Config{ID: "p1", Run: "test", Secret: []byte("sixteen bytes or more")}}
	f.Fuzz(func(t *testing.T, b []byte) {
		here, there := net.Pipe()
		go func() {
			there.Write(b)
			there.Close()
		}()
		go io.Copy(io.Discard, there)
		if e, ok := tr.greet(here); ok {
			t.Errorf("%x became a peer: %+v", b, e)
		}
		here.Close()
	})
}

// FuzzReply: a dialer survives whatever answers it, and never believes it.
func FuzzReply(f *testing.F) {
	f.Add(append([]byte{challenge, 0, 64}, make([]byte, 64)...))
	f.Add([]byte("\x02\x00\x05no\x1b[m"))
	tr := &Transport{cfg: Config{ID: "p0", Run: "test", Secret: []byte("sixteen bytes or more")}}
	f.Fuzz(func(t *testing.T, b []byte) {
		here, there := net.Pipe()
		go io.Copy(io.Discard, there)
		go func() {
			there.Write(b)
			there.Close()
		}()
		err := tr.introduce(here, ring.Edge{Self: "p0", Peer: "p1", Epoch: 1})
		here.Close()
		if err == nil {
			t.Errorf("%x was believed", b)
		}
		if r, ok := errors.AsType[*RefusedError](err); ok && bytes.ContainsAny([]byte(r.Reason), "\x1b\r\n\x07") {
			t.Errorf("%x: reason %q could disturb a terminal", b, r.Reason)
		}
	})
}

// FuzzLink: whatever the other end has in its memory, a link returns the frames
// that are there, and an error after them.
func FuzzLink(f *testing.F) {
	frame := ring.Header{Kind: ring.Data, Epoch: 1, Length: 3}.AppendTo(nil)
	frame = append(append(append(frame, make([]byte, slotBytes-len(frame))...), "abc"...), make([]byte, slotBytes-3)...)
	f.Add(frame, uint64(len(frame)), uint64(0), uint8(2))
	f.Add(frame, uint64(70), uint64(1), uint8(200))
	f.Add(frame, ^uint64(0), ^uint64(0), uint8(1))
	f.Fuzz(func(t *testing.T, mem []byte, sent, taken uint64, step uint8) {
		l, s, other := half(t)
		copy(s.ring, mem)
		s.word(wordSent).Store(sent)
		s.word(wordTaken).Store(taken)
		other.Close() // what is there is all there is
		rest := s.ring[:min(sent, uint64(len(s.ring)))]
		for {
			h, err := l.Next()
			if sent > uint64(len(s.ring)) {
				if !errors.Is(err, errCursor) {
					t.Fatalf("%d bytes in a ring of %d: %v", sent, len(s.ring), err)
				}
				break
			}
			var want ring.Header
			wantErr := io.ErrUnexpectedEOF
			if len(rest) >= slotBytes {
				want, wantErr = ring.ParseHeader(rest)
			}
			if (err == nil) != (wantErr == nil) || h != want {
				t.Fatalf("Next = %+v, %v; want %+v, %v", h, err, want, wantErr)
			}
			if err != nil {
				break
			}
			rest = rest[slotBytes:]
			body := rest[:min(len(rest), int(h.Length))]
			got, err := readAll(l, int(step)+1)
			if !bytes.Equal(got, body) || (err == nil) != (len(body) == int(h.Length)) {
				t.Fatalf("body %x, %v; want %x of %d bytes", got, err, body, h.Length)
			}
			if err != nil {
				break
			}
			rest = rest[min(len(rest), len(body)+padding(len(body))):]
		}
		var err error
		for n := 0; err == nil && n <= 2*minRing; n += slotBytes {
			err = l.Send(ring.Header{Kind: ring.Alive}, nil)
		}
		if err == nil {
			t.Errorf("sent two rings full to an end that can have taken one at most")
		}
	})
}

// FuzzPass: no message and no descriptors make a segment but the right ones.
func FuzzPass(f *testing.F) {
	f.Add([]byte{welcome, 0, 0}, uint8(1))
	f.Add([]byte{welcome, 0, 0}, uint8(2))
	f.Add([]byte("\x02\x00\x02no"), uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, files uint8) {
		if len(b) == 0 {
			return
		}
		here, there := socketPair(t)
		s, fd, err := newSegment(minRing)
		if err != nil {
			t.Fatal(err)
		}
		defer s.unmap()
		defer unix.Close(fd)
		var fds []int
		for range files % 4 {
			fds = append(fds, fd)
		}
		there.WriteMsgUnix(b, unix.UnixRights(fds...), nil)
		there.Close()
		got, err := receiveSegment(here, welcome)
		right := bytes.HasPrefix(b, []byte{welcome, 0, 0}) && len(fds) == 1
		if (err == nil) != right {
			t.Errorf("%x with %d files: %v", b, len(fds), err)
		}
		if got != nil {
			got.unmap()
		}
	})
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
