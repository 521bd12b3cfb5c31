package allreduce_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// A ledger notes what a Trace hears.
type ledger struct {
	mu    sync.Mutex
	begun uint64
	done  []allreduce.Event
	tags  []uint64
}

func (l *ledger) trace() *allreduce.Trace {
	return &allreduce.Trace{
		Begins: func(kind string) uint64 {
			l.mu.Lock()
			defer l.mu.Unlock()
			if kind == "barrier" {
				return 0
			}
			l.begun++
			return l.begun
		},
		Done: func(tag uint64, e allreduce.Event) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.done, l.tags = append(l.done, e), append(l.tags, tag)
		},
	}
}

// Whoever traces hears of every collective that it has asked for, once, with what
// it was: over links and over shared memory, alone or several at once.
func TestTraceHearsOfCollectives(t *testing.T) {
	for name, open := range map[string]func(cfg allreduce.Config) *group{
		"links":  func(cfg allreduce.Config) *group { return open(t, 2, ringtest.Options{}, cfg) },
		"memory": func(cfg allreduce.Config) *group { return openShared(t, 2, cfg).group },
	} {
		t.Run(name, func(t *testing.T) {
			var l ledger
			g := open(allreduce.Config{Trace: l.trace()})
			g.must(func(ctx context.Context, c *allreduce.Comm) error {
				a, b, x := make([]float32, 10), make([]float32, 100_000), make([]float64, 7)
				v, w := c.Start(allreduce.Of(a), allreduce.Sum), c.Start(allreduce.Of(b), allreduce.Sum)
				err := errors.Join(v.Wait(ctx), w.Wait(ctx), c.Barrier(ctx))
				return errors.Join(err, c.AllReduce(ctx, allreduce.Of(x), allreduce.Mean))
			})
			l.mu.Lock()
			defer l.mu.Unlock()
			bytes, tags := map[int]int{}, map[uint64]bool{}
			for i, e := range l.done {
				bytes[e.Bytes]++
				tags[l.tags[i]] = true
				if e.Kind != "all-reduce" || e.Err != nil || e.Ended.Before(e.Began) || e.Algorithm == allreduce.Auto ||
					(e.Algorithm == allreduce.Shared) != (name == "memory") {
					t.Errorf("%+v", e)
				}
			}
			if len(l.done) != 6 || len(tags) != 6 || bytes[40] != 2 || bytes[400_000] != 2 || bytes[56] != 2 {
				t.Errorf("%d collectives with %d tags, by bytes %v; want two each of 40, 56 and 400000", len(l.done), len(tags), bytes)
			}
		})
	}
}

// A collective that fails ends, too.
func TestTraceHearsOfFailure(t *testing.T) {
	var l ledger
	g := open(t, 2, ringtest.Options{}, allreduce.Config{Trace: l.trace()})
	w := g.comms[0].Start(allreduce.Of(make([]float32, 10)), allreduce.Sum)
	g.close()
	if err := w.Wait(t.Context()); err == nil {
		t.Fatal("a collective that only one peer has begun went well")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.done) != 1 || l.done[0].Err == nil {
		t.Errorf("heard %+v, want one that failed", l.done)
	}
}
