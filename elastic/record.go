package elastic

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ringrun/ringrun/elastic/blackbox"
)

func panicText(e any) string { return fmt.Sprint(e) }

// record keeps the box of this peer and its copy up to date until it is told to
// stop. Then the neighbour still learns how it ended.
func (g *Group) record(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { g.watchSelf(ctx) })
	running.Go(func() {
		m := newMirror(g)
		defer m.close()
		m.run(ctx)
		m.send(context.WithoutCancel(ctx), lastMirror)
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// watchSelf notes now and then that this process lives, or that it did not.
func (g *Group) watchSelf(ctx context.Context) {
	tick := time.NewTicker(lookTime)
	defer tick.Stop()
	w := watch{r: g.recorder, looked: time.Now()}
	drained := g.drained
	for {
		select {
		case <-tick.C:
			w.look(g)
		case <-drained:
			drained = nil
			w.r.note(blackbox.Event{Kind: blackbox.Draining, Step: g.meter.read().steps})
		case <-ctx.Done():
			return
		}
	}
}

// A watch is what the recorder remembers from one look to the next.
type watch struct {
	r        *recorder
	looked   time.Time
	noted    time.Time
	steps    uint64
	memory   uint64
	memoryAt time.Time
}

func (w *watch) look(g *Group) {
	now := time.Now()
	if d := max(now.Sub(w.looked), now.Round(0).Sub(w.looked.Round(0))); d > lapseTime {
		w.r.note(blackbox.Event{Kind: blackbox.Lapse, Value: int64(d)})
	}
	w.looked = now
	m := g.meter.read()
	if now.Sub(w.noted) >= noteEvery {
		w.noted = now
		w.r.memory.Store(blackbox.Resident())
		if m.steps != w.steps {
			w.steps = m.steps
			w.r.note(blackbox.Event{Kind: blackbox.Steps, Step: m.steps, Epoch: w.r.epoch.Load()})
		}
	}
	used := w.r.memory.Load()
	if grown := used > w.memory+w.memory/4; grown || now.Sub(w.memoryAt) >= memoryNote && used != w.memory {
		w.memory, w.memoryAt = used, now
		w.r.note(blackbox.Event{Kind: blackbox.Memory, Value: int64(used)})
	}
	g.meter.alive()
}
