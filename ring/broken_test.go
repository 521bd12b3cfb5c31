package ring_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// readAll keeps a reader on every lane, as a comm does.
func readAll(rings []*ring.Ring) (wait func()) {
	var readers sync.WaitGroup
	for _, r := range rings {
		for _, l := range r.Lanes() {
			readers.Go(func() { drain(l) })
		}
	}
	synctest.Wait()
	return readers.Wait
}

// sendAll keeps a sender on every lane until its ring breaks, and returns when
// all of them are stuck.
func sendAll(rings []*ring.Ring) (wait func()) {
	var senders sync.WaitGroup
	for _, r := range rings {
		for _, l := range r.Lanes() {
			senders.Go(func() {
				for body := make([]byte, r.FrameBytes()); l.Send(ring.Header{}, body) == nil; {
				}
			})
		}
	}
	synctest.Wait()
	return senders.Wait
}

func TestFailReachesAll(t *testing.T) {
	for name, busy := range map[string]func([]*ring.Ring) func(){
		"readers": readAll,
		"nobody":  func([]*ring.Ring) func() { return func() {} },
		"stuck":   sendAll,
	} {
		for _, lanes := range []int{1, 3} {
			synctest.Test(t, func(t *testing.T) {
				net := ringtest.NewNet(ringtest.Options{Delay: time.Millisecond, Lanes: lanes})
				rings := openAll(t, net, names(5), ring.Config{Epoch: 3})
				defer closeAll(t, net, rings)
				defer busy(rings)()
				begin := time.Now()
				go rings[2].Fail(9, "seq 4: 1000 elements here, 1001 there")
				want := ring.AbortError{Peer: "p2", Code: 9, Text: "seq 4: 1000 elements here, 1001 there"}
				for i, r := range rings {
					<-r.Done()
					why, ok := errors.AsType[*ring.AbortError](r.Err())
					if !ok || *why != want || !errors.Is(r.Err(), ring.ErrBroken) {
						t.Errorf("%s, p%d: %v, want %v", name, i, r.Err(), &want)
					}
				}
				if d := time.Since(begin); d > 10*time.Millisecond {
					t.Errorf("%s: it took %v with a delay of 1ms", name, d)
				}
			})
		}
	}
}

func TestAllFailAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := ringtest.NewNet(ringtest.Options{Delay: time.Millisecond})
		rings := openAll(t, net, names(5), ring.Config{})
		defer closeAll(t, net, rings)
		var all sync.WaitGroup
		for i, r := range rings {
			all.Go(func() { r.Fail(uint8(i), "mine") })
		}
		all.Wait()
		for i, r := range rings {
			if why, ok := errors.AsType[*ring.AbortError](r.Err()); !ok || why.Text != "mine" {
				t.Errorf("p%d: %v", i, r.Err())
			}
		}
	})
}

func TestLongTextIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := ringtest.NewNet(ringtest.Options{})
		rings := openAll(t, net, names(3), ring.Config{})
		defer closeAll(t, net, rings)
		text := strings.Repeat("é", 5000)
		rings[0].Fail(1, text[1:])
		<-rings[1].Done()
		why, ok := errors.AsType[*ring.AbortError](rings[1].Err())
		if !ok || len(why.Text) < 4000 || len(why.Text) > 4096 || !utf8.ValidString(why.Text) {
			t.Errorf("%d bytes arrived, valid: %v", len(why.Text), utf8.ValidString(why.Text))
		}
	})
}

// TestDeadPeer kills one of n peers. The others know within milliseconds, and
// know which.
func TestDeadPeer(t *testing.T) {
	for _, size := range []int{2, 3, 4, 7} {
		for name, busy := range map[string]func([]*ring.Ring) func(){"readers": readAll, "stuck": sendAll} {
			synctest.Test(t, func(t *testing.T) {
				net := ringtest.NewNet(ringtest.Options{Delay: time.Millisecond})
				rings := openAll(t, net, names(size), ring.Config{Epoch: 8})
				defer closeAll(t, net, rings)
				defer busy(rings)()
				begin := time.Now()
				net.Kill("p1")
				for i, r := range rings {
					if i == 1 {
						continue
					}
					<-r.Done()
					if err := r.Err(); !errors.Is(err, ring.ErrBroken) || !strings.Contains(err.Error(), "link to p1") {
						t.Errorf("%s, size %d, p%d: %v; want an error that names p1", name, size, i, err)
					}
				}
				if d := time.Since(begin); d > 50*time.Millisecond {
					t.Errorf("%s, size %d: it took %v", name, size, d)
				}
			})
		}
	}
}

func TestCutLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := ringtest.NewNet(ringtest.Options{})
		rings := openAll(t, net, names(4), ring.Config{})
		defer closeAll(t, net, rings)
		defer readAll(rings)()
		net.Cut("p2", "p1")
		for i, r := range rings {
			<-r.Done()
			if err := r.Err(); !strings.Contains(err.Error(), "link to p1") && !strings.Contains(err.Error(), "link to p2") {
				t.Errorf("p%d: %v", i, err)
			}
		}
	})
}

func TestIdleRingLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := ringtest.NewNet(ringtest.Options{Lanes: 2, Delay: 20 * time.Millisecond})
		rings := openAll(t, net, names(3), ring.Config{Silence: 100 * time.Millisecond})
		defer readAll(rings)()
		defer closeAll(t, net, rings)
		time.Sleep(time.Minute) // of virtual time
		for i, r := range rings {
			if err := r.Err(); err != nil {
				t.Errorf("p%d: %v", i, err)
			}
		}
	})
}

// TestStuckSendersLive: nobody reads, the windows are full, and all the same
// everybody is alive.
func TestStuckSendersLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := ringtest.NewNet(ringtest.Options{})
		rings := openAll(t, net, names(3), ring.Config{})
		defer sendAll(rings)()
		defer closeAll(t, net, rings)
		time.Sleep(time.Minute)
		for i, r := range rings {
			if err := r.Err(); err != nil {
				t.Errorf("p%d: %v", i, err)
			}
		}
	})
}

func TestSilentPeerIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := ringtest.NewNet(ringtest.Options{})
		rings := openAll(t, net, names(4), ring.Config{Epoch: 2, Silence: 2 * time.Second})
		defer closeAll(t, net, rings)
		defer readAll(rings)()
		time.Sleep(time.Minute)
		net.Stall("p1")
		defer net.Resume("p1")
		begin := time.Now()
		for _, i := range []int{0, 2, 3} {
			<-rings[i].Done()
			if err := rings[i].Err(); !strings.Contains(err.Error(), "p1 has been silent for 2s") {
				t.Errorf("p%d: %v", i, err)
			}
		}
		if d := time.Since(begin); d < 1500*time.Millisecond || d > 2500*time.Millisecond {
			t.Errorf("found after %v, want about 2s", d)
		}
	})
}

// TestShortStallIsForgiven stops a peer for half of Silence, again and again.
func TestShortStallIsForgiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := ringtest.NewNet(ringtest.Options{})
		rings := openAll(t, net, names(3), ring.Config{Silence: time.Second})
		defer readAll(rings)()
		defer closeAll(t, net, rings)
		for range 100 {
			net.Stall("p1")
			time.Sleep(500 * time.Millisecond)
			net.Resume("p1")
			time.Sleep(500 * time.Millisecond)
		}
		for i, r := range rings {
			if err := r.Err(); err != nil {
				t.Errorf("p%d: %v", i, err)
			}
		}
	})
}

// TestCloseWakes closes a ring in which one goroutine waits for a frame and one
// for the window.
func TestCloseWakes(t *testing.T) {
	for name, end := range map[string]func(*ring.Ring){
		"Close": func(r *ring.Ring) { r.Close() },
		"Fail":  func(r *ring.Ring) { r.Fail(1, "enough") },
	} {
		synctest.Test(t, func(t *testing.T) {
			net := ringtest.NewNet(ringtest.Options{})
			rings := openAll(t, net, names(3), ring.Config{})
			defer closeAll(t, net, rings)
			sent := sendAll(rings[:1])
			read := readAll(rings[:1])
			begin := time.Now()
			end(rings[0])
			sent()
			read()
			if d := time.Since(begin); d > 50*time.Millisecond {
				t.Errorf("%s woke them after %v", name, d)
			}
			l := rings[0].Lanes()[0]
			if err := l.Send(ring.Header{}, nil); !errors.Is(err, ring.ErrBroken) {
				t.Errorf("Send after %s: %v, want ErrBroken", name, err)
			}
			if _, err := l.Next(); !errors.Is(err, ring.ErrBroken) {
				t.Errorf("Next after %s: %v, want ErrBroken", name, err)
			}
		})
	}
}
