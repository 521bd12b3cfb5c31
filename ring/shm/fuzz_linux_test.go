package shm

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/internal/lobby"
	"golang.org/x/sys/unix"
)

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
	f.Add([]byte{lobby.Welcome, 0, 0}, uint8(1))
	f.Add([]byte{lobby.Welcome, 0, 0}, uint8(2))
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
		got, err := receiveSegment(here, lobby.Welcome)
		right := bytes.HasPrefix(b, []byte{lobby.Welcome, 0, 0}) && len(fds) == 1
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
