package elastic

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringrun/ringrun/allreduce"
)

// TestShapedPeer is one peer of a measurement over links that something else
// shapes, such as network namespaces with tbf. Every peer is a process with the
// environment that ringrun would give it, and:
//
//	RINGRUN_SHAPED=BYTES    how large the state is
//	RINGRUN_SHAPED_LATE=1   this one comes later, and has other bytes
//
// The late one says how long it took from its view to its first pass, and ends.
func TestShapedPeer(t *testing.T) {
	size, err := strconv.Atoi(os.Getenv("RINGRUN_SHAPED"))
	if err != nil {
		t.Skip("RINGRUN_SHAPED is not set")
	}
	late := os.Getenv("RINGRUN_SHAPED_LATE") != ""
	cfg, err := FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	views := make(chan time.Time, 100)
	cfg.Report = events(func(e event) {
		if e.Event == "view" {
			views <- time.Now()
		}
		t.Log(e.Event, e.Epoch, strings.Join(e.Peers, " "), e.Error)
	})
	p := &peer{samples: Samples{Count: 64, Batch: 8, Seed: 1}, model: counter{counts: make([]float64, 64)}}
	st := &bulk{&p.model, make([]byte, size)}
	for i := range st.ballast {
		if late {
			st.ballast[i] = byte(i >> 4)
		} else {
			st.ballast[i] = byte(i * i >> 3)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	err = Run(ctx, cfg, func(ctx context.Context, g *Group) error {
		g.SetState(st)
		sum := make([]float64, 64)
		for _, err := range g.Shards(ctx, p.samples) {
			if err != nil {
				return err
			}
			if late {
				d := time.Since(<-views)
				t.Logf("%d bytes from %d peers, from view to first pass: %v, %.0f MB/s", size, g.Size()-1, d, float64(size)/1e6/d.Seconds())
				return errGaveUp
			}
			_, err := g.Commit(ctx, func(c *allreduce.Comm, _ Weights) error {
				return c.AllReduce(ctx, allreduce.Of(sum), allreduce.Sum)
			}, func() error { return nil })
			if err != nil {
				return err
			}
			<-time.After(5 * time.Millisecond) // the length of a step
		}
		return nil
	})
	if err != nil && !errors.Is(err, errGaveUp) && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}
