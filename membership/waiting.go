package membership

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
)

const (
	knockAgain = 500 * time.Millisecond // from one look at the others to the next
	goneAfter  = 3                      // looks that find nobody until there is nobody
)

// A waiting is what a newcomer does until it is in a view: it looks whether
// somebody is left who could let it in, and gives up when there is nobody, or
// after Config.JoinTimeout.
type waiting struct {
	node    *Node
	ctx     context.Context
	began   time.Time
	looked  time.Time
	looking bool
	misses  int
	full    bool      // it has been said that there is no room
	found   chan bool // whether somebody was there
}

// tick is called by the node's goroutine, as is saw.
func (w *waiting) tick(a *agreement) {
	n := w.node
	if a.view.Epoch > 0 {
		return
	}
	if a.fullAt > 0 && !w.full {
		w.full = true
		n.log.Warn("the group has as many peers as it may have: this one waits until one of them leaves",
			zap.Int("peers", a.fullAt), zap.Duration("at most", n.cfg.JoinTimeout))
	}
	contacts := n.contacts(a)
	if time.Since(w.began) > n.cfg.JoinTimeout {
		why := ""
		if a.fullAt > 0 {
			why = fmt.Sprintf(": the group has the %d peers that it may have, and lets another in when one of them leaves", a.fullAt)
		}
		n.publish(View{}, fmt.Errorf("membership: %s was not let in within %v by %v%s", n.cfg.ID, n.cfg.JoinTimeout, contacts, why))
		return
	}
	if w.looking || time.Since(w.looked) < knockAgain {
		return
	}
	w.looking, w.looked = true, time.Now()
	n.running.Add(1)
	go func() {
		defer n.running.Done()
		select {
		case w.found <- n.gossip.anybody(w.ctx, contacts):
		case <-w.ctx.Done():
		}
	}()
}

// saw takes up the answer of a look.
func (w *waiting) saw(a *agreement, somebody bool) {
	w.looking = false
	if somebody {
		w.misses = 0
		return
	}
	if w.misses++; w.misses >= goneAfter && a.view.Epoch == 0 {
		n := w.node
		n.publish(View{}, fmt.Errorf("membership: nobody is left who could let %s in: the group at %s has ended", n.cfg.ID, strings.Join(n.contacts(a), ", ")))
	}
}

// anybody reports whether one of these addresses may belong to a member of the
// group: to one that does not answer, too, but not to another newcomer.
func (g *gossip) anybody(ctx context.Context, addrs []string) bool {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	maybe := make([]bool, len(addrs))
	var asked sync.WaitGroup
	for i, addr := range addrs {
		asked.Go(func() {
			_, err := g.locate(ctx, addr)
			var mismatch *mismatchError
			maybe[i] = !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, errAlone) && !errors.As(err, &mismatch)
		})
	}
	asked.Wait()
	return slices.Contains(maybe, true)
}
