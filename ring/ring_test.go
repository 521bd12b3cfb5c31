package ring_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// names returns p0, p1, …
func names(n int) []string {
	var ps []string
	for i := range n {
		ps = append(ps, fmt.Sprintf("p%d", i))
	}
	return ps
}

// openAll opens the rings of all peers at once; they are closed with the test.
func openAll(t *testing.T, net *ringtest.Net, peers []string, cfg ring.Config) []*ring.Ring {
	t.Helper()
	rings := make([]*ring.Ring, len(peers))
	errs := make([]error, len(peers))
	var wg sync.WaitGroup
	for i, p := range peers {
		c := cfg
		c.Self, c.Peers, c.Transport = p, peers, net.Transport(p)
		wg.Go(func() { rings[i], errs[i] = ring.Open(t.Context(), c) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return rings
}

func closeAll(t *testing.T, net *ringtest.Net, rings []*ring.Ring) {
	t.Helper()
	for _, r := range rings {
		r.Close()
	}
	if n := net.Links(); n != 0 {
		t.Errorf("%d ends of links are still open after all rings are closed", n)
	}
}

// drain reads a lane until it fails, and returns the error.
func drain(l *ring.Lane) error {
	for {
		if _, err := l.Next(); err != nil {
			return err
		}
	}
}

func TestRingCarriesFrames(t *testing.T) {
	for _, size := range []int{2, 3, 5} {
		synctest.Test(t, func(t *testing.T) {
			net := ringtest.NewNet(ringtest.Options{Lanes: 2, Delay: time.Millisecond})
			rings := openAll(t, net, names(size), ring.Config{Epoch: 7})
			defer closeAll(t, net, rings)
			for i, r := range rings {
				if r.Rank() != i || r.Size() != size || r.Epoch() != 7 || len(r.Lanes()) != 2 || !slices.Equal(r.Peers(), names(size)) {
					t.Fatalf("ring of p%d: rank %d, size %d, epoch %d, %d lanes, peers %q",
						i, r.Rank(), r.Size(), r.Epoch(), len(r.Lanes()), r.Peers())
				}
				for j, l := range r.Lanes() {
					body := fmt.Sprintf("from %d on lane %d", i, j)
					if err := l.Send(ring.Header{Seq: uint32(j), Count: 99, Offset: 42, Root: 3}, []byte(body)); err != nil {
						t.Fatal(err)
					}
				}
			}
			for i, r := range rings {
				for j, l := range r.Lanes() {
					h, err := l.Next()
					if err != nil {
						t.Fatal(err)
					}
					body := make([]byte, h.Length)
					if _, err := io.ReadFull(l, body); err != nil {
						t.Fatal(err)
					}
					want := fmt.Sprintf("from %d on lane %d", (i+size-1)%size, j)
					if string(body) != want {
						t.Errorf("p%d lane %d: got %q, want %q", i, j, body, want)
					}
					wh := ring.Header{Kind: ring.Data, Epoch: 7, Seq: uint32(j), Count: 99, Offset: 42, Root: 3, Length: uint32(len(want))}
					if h != wh {
						t.Errorf("p%d lane %d: got %+v, want %+v", i, j, h, wh)
					}
				}
			}
		})
	}
}

func TestRingOfOne(t *testing.T) {
	r, err := ring.Open(t.Context(), ring.Config{Self: "a", Peers: []string{"a"}, Epoch: 4})
	if err != nil {
		t.Fatal(err)
	}
	if r.Rank() != 0 || r.Size() != 1 || len(r.Lanes()) != 0 || r.FrameBytes() == 0 || r.Err() != nil {
		t.Errorf("rank %d, size %d, %d lanes, frames of %d bytes, %v", r.Rank(), r.Size(), len(r.Lanes()), r.FrameBytes(), r.Err())
	}
	r.Close()
	<-r.Done()
	if !errors.Is(r.Err(), ring.ErrBroken) {
		t.Errorf("after Close: %v, want ErrBroken", r.Err())
	}
}

func TestConfigIsChecked(t *testing.T) {
	net := ringtest.NewNet(ringtest.Options{})
	for want, cfg := range map[string]ring.Config{
		`"x" is not among the 2 peers`: {Self: "x", Peers: []string{"a", "b"}},
		"twice":                        {Self: "a", Peers: []string{"a", "b", "a"}},
		"-1 lanes":                     {Self: "a", Peers: []string{"a", "b"}, Lanes: -1},
		"silence of 1ns":               {Self: "a", Peers: []string{"a", "b"}, Silence: 1},
		"no transport":                 {Self: "a", Peers: []string{"a", "b"}},
	} {
		if want != "no transport" {
			cfg.Transport = net.Transport("a")
		}
		if _, err := ring.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%+v): %v, want: %s", cfg, err, want)
		}
	}
}

// TestManySenders: frames of several goroutines do not mix on a lane.
func TestManySenders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := ringtest.NewNet(ringtest.Options{FrameBytes: 1 << 10})
		rings := openAll(t, net, names(2), ring.Config{})
		defer closeAll(t, net, rings)
		const senders, frames = 8, 50
		var all sync.WaitGroup
		defer all.Wait()
		for i := range senders {
			all.Go(func() {
				for k := range frames {
					body := slices.Repeat([]byte{byte(i)}, 10*i+k)
					if err := rings[0].Lanes()[0].Send(ring.Header{Root: uint32(i), Seq: uint32(k)}, body); err != nil {
						t.Error(err)
					}
				}
			})
		}
		next := make([]uint32, senders)
		for range senders * frames {
			l := rings[1].Lanes()[0]
			h, err := l.Next()
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(l)
			want := slices.Repeat([]byte{byte(h.Root)}, int(10*h.Root+h.Seq))
			if err != nil || h.Seq != next[h.Root] || !slices.Equal(body, want) {
				t.Fatalf("sender %d: seq %d, want %d, body of %d bytes, %v", h.Root, h.Seq, next[h.Root], len(body), err)
			}
			next[h.Root]++
		}
	})
}

func TestTooLargeABodyPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := ringtest.NewNet(ringtest.Options{FrameBytes: 1 << 10})
		rings := openAll(t, net, names(2), ring.Config{})
		defer closeAll(t, net, rings)
		defer func() {
			if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), "1025 bytes") {
				t.Errorf("panic %v, want one that says 1025 bytes", v)
			}
		}()
		rings[0].Lanes()[0].Send(ring.Header{}, make([]byte, rings[0].FrameBytes()+1))
	})
}
