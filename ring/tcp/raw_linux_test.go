//go:build !386

package tcp

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/ringrun/ringrun/ring/ringtest"
)

// TestCloseWakesTheLate: who was about to wait when the link was closed does not
// wait while the link lingers, nor does who was woken and had no time to go.
func TestCloseWakesTheLate(t *testing.T) {
	ringtest.CheckLeaks(t)
	ts := group(t, 2, nil)
	ts[0].linger = time.Minute // longer than any pause
	for epoch := range uint64(200) {
		a, b := connect(t, ts[0], ts[1], epoch+1)
		l, ok := a.(*rawLink)
		if !ok {
			t.Skip("no such links here")
		}
		early := make(chan error, 1)
		go func() { early <- l.Await() }()
		if epoch%2 == 0 {
			awaitLock(&l.readable.mu) // it waits
		}
		l.Close()
		awaitLock(&l.reading) // it lingers
		late := make(chan error, 1)
		go func() { late <- l.Await() }()
		for who, c := range map[string]chan error{"early": early, "late": late} {
			select {
			case err := <-c:
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("%s: %v, want net.ErrClosed", who, err)
				}
			case <-time.After(l.patience / 2):
				t.Errorf("link %d lingers, and who was %s waits for it", epoch, who)
			}
		}
		if b.Close(); t.Failed() {
			return
		}
	}
}

// awaitLock waits until somebody has the lock.
func awaitLock(mu *sync.Mutex) {
	for mu.TryLock() {
		mu.Unlock()
		runtime.Gosched()
	}
}
