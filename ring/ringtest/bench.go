package ringtest

import (
	"fmt"
	"io"
	"testing"

	"github.com/ringrun/ringrun/ring"
)

// Connect opens a link that one transport dials as edge e, and the other accepts.
// Both ends are closed with the test.
func Connect(t testing.TB, from, to ring.Transport, e ring.Edge) (dialed, accepted ring.Link) {
	t.Helper()
	back := ring.Edge{Self: e.Peer, Peer: e.Self, Epoch: e.Epoch, Lane: e.Lane}
	d, a := openLink(t.Context(), from.Dial, e), openLink(t.Context(), to.Accept, back)
	return take(t, "Dial", d), take(t, "Accept", a)
}

// Receive reads so many frames of a link to their ends; buf has room for each.
func Receive(l ring.Link, frames int, buf []byte) error {
	for range frames {
		h, err := l.Next()
		if err != nil {
			return err
		}
		if _, err := io.ReadFull(reader{l}, buf[:h.Length]); err != nil {
			return err
		}
		if n, err := l.Read(buf); n != 0 || err != io.EOF {
			return fmt.Errorf("%d bytes more, %v", n, err)
		}
	}
	return nil
}

// BenchLink streams frames one way through a link. The bytes are those of the
// bodies.
func BenchLink(b *testing.B, open func(t testing.TB) (from, to ring.Link)) {
	for _, size := range []int{0, 1 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("frame=%d", size), func(b *testing.B) {
			from, to := open(b)
			body, buf := make([]byte, size), make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			got := background(func() error { return Receive(to, b.N, buf) })
			for i := range b.N {
				if err := from.Send(data(i, body), body); err != nil {
					b.Fatal(err)
				}
			}
			if err := <-got; err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchPingPong sends one frame to and fro.
func BenchPingPong(b *testing.B, open func(t testing.TB) (from, to ring.Link)) {
	for _, size := range []int{4, 64 << 10} {
		b.Run(fmt.Sprintf("frame=%d", size), func(b *testing.B) {
			from, to := open(b)
			there, back := make([]byte, size), make([]byte, size)
			b.SetBytes(int64(2 * size))
			echo := background(func() error {
				for i := range b.N {
					if err := Receive(to, 1, there); err != nil {
						return err
					}
					if err := to.Send(data(i, there), there); err != nil {
						return err
					}
				}
				return nil
			})
			for i := range b.N {
				if err := from.Send(data(i, back), back); err != nil {
					b.Fatal(err)
				}
				if err := Receive(from, 1, back); err != nil {
					b.Fatal(err)
				}
			}
			if err := <-echo; err != nil {
				b.Fatal(err)
			}
		})
	}
}
