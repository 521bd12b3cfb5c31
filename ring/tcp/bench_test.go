package tcp

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/ringrun/ringrun/ring"
)

// BenchmarkLink streams frames one way through a link on loopback. The bytes
// are those of the bodies.
func BenchmarkLink(b *testing.B) { benchmarkLink(b, nil) }

// BenchmarkSealedLink does so with TLS.
func BenchmarkSealedLink(b *testing.B) { benchmarkLink(b, always) }

func benchmarkLink(b *testing.B, change func(int, *Config)) {
	for _, size := range []int{0, 1 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("frame=%d", size), func(b *testing.B) {
			ts := group(b, 2, change)
			from, to := connect(b, ts[0], ts[1], 1)
			body, buf := make([]byte, size), make([]byte, size)
			got := make(chan error, 1)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			go func() { got <- receive(to, b.N, buf) }()
			for i := range b.N {
				h := ring.Header{Kind: ring.Data, Seq: uint32(i), Length: uint32(size)}
				if err := from.Send(h, body); err != nil {
					b.Fatal(err)
				}
			}
			if err := <-got; err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkOpen opens links.
func BenchmarkOpen(b *testing.B) {
	for name, change := range map[string]func(int, *Config){"clear": nil, "sealed": always} {
		b.Run(name, func(b *testing.B) {
			ts := group(b, 2, change)
			for i := range b.N {
				from, to := connect(b, ts[0], ts[1], uint64(i)+1)
				from.Close()
				to.Close()
			}
		})
	}
}

// BenchmarkPingPong sends one frame to and fro.
func BenchmarkPingPong(b *testing.B) {
	for _, size := range []int{4, 64 << 10} {
		b.Run(fmt.Sprintf("frame=%d", size), func(b *testing.B) {
			from, to := pair(b)
			h := ring.Header{Kind: ring.Data, Length: uint32(size)}
			there, back := make([]byte, size), make([]byte, size)
			b.SetBytes(int64(2 * size))
			echo := make(chan error, 1)
			go func() {
				for range b.N {
					if err := receive(to, 1, there); err != nil {
						echo <- err
						return
					}
					to.Send(h, there)
				}
				echo <- nil
			}()
			for range b.N {
				if err := from.Send(h, back); err != nil {
					b.Fatal(err)
				}
				if err := receive(from, 1, back); err != nil {
					b.Fatal(err)
				}
			}
			if err := <-echo; err != nil {
				b.Fatal(err)
			}
		})
	}
}

func receive(l ring.Link, frames int, buf []byte) error {
	for range frames {
		h, err := l.Next()
		if err != nil {
			return err
		}
		for got := 0; got < int(h.Length); {
			n, err := l.Read(buf[got:h.Length])
			if err != nil {
				return err
			}
			got += n
		}
		if n, err := l.Read(buf); n != 0 || err != io.EOF {
			return fmt.Errorf("%d bytes more, %v", n, err)
		}
	}
	return nil
}

// pair opens a link from p0 to p1.
func pair(t testing.TB) (dialed, accepted ring.Link) {
	t.Helper()
	ts := group(t, 2, nil)
	return connect(t, ts[0], ts[1], 1)
}

// connect opens a link from a to b and closes it with the test.
func connect(t testing.TB, a, b *Transport, epoch uint64) (dialed, accepted ring.Link) {
	t.Helper()
	type result struct {
		link ring.Link
		err  error
	}
	c := make(chan result, 1)
	go func() {
		l, err := b.Accept(context.Background(), ring.Edge{Self: b.cfg.ID, Peer: a.cfg.ID, Epoch: epoch})
		c <- result{l, err}
	}()
	dialed, err := a.Dial(context.Background(), ring.Edge{Self: a.cfg.ID, Peer: b.cfg.ID, Epoch: epoch})
	if err != nil {
		t.Fatal(err)
	}
	r := <-c
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { dialed.Close(); r.link.Close() })
	return dialed, r.link
}
