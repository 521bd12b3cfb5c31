package ring_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// When a peer falls silent, all others learn what it has told its neighbours last.
func TestLastWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := ringtest.NewNet(ringtest.Options{})
		rings := openAll(t, net, names(4), ring.Config{
			Epoch: 2, Silence: 2 * time.Second,
			Pulse: ring.Pulse{
				Say:  func() uint64 { return uint64(time.Now().Unix()) },
				Read: func(word uint64) string { return fmt.Sprintf("at %d", word) },
			},
		})
		defer closeAll(t, net, rings)
		defer readAll(rings)()
		time.Sleep(time.Minute)
		now := uint64(time.Now().Unix())
		for i, next := range []string{"p1", "p2", "p3", "p0"} {
			if word := rings[i].Heard()[next]; word > now || word+1 < now {
				t.Errorf("p%d has heard %d of %s, it is %d", i, word, next, now)
			}
		}
		net.Stall("p1")
		defer net.Resume("p1")
		for _, i := range []int{0, 2, 3} {
			<-rings[i].Done()
			abort, ok := errors.AsType[*ring.AbortError](rings[i].Err())
			if !ok || abort.About != "p1" {
				t.Errorf("p%d: %v, want it to be about p1", i, rings[i].Err())
				continue
			}
			err := abort.Text
			if !strings.Contains(err, fmt.Sprintf("p1 has been silent for 2s; last heard at %d", now)) &&
				!strings.Contains(err, fmt.Sprintf("p1 has been silent for 2s; last heard at %d", now-1)) {
				t.Errorf("p%d: %v, it was stalled at %d", i, err, now)
			}
		}
	})
}
