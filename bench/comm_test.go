package bench

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/allreduce/codec"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// onRing runs f on so many peers of a ring in memory, all at once.
func onRing(t *testing.T, size int, coder string, f func(ctx context.Context, c *allreduce.Comm) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cd, err := codec.ByName(coder)
	if err != nil {
		t.Fatal(err)
	}
	net := ringtest.NewNet(ringtest.Options{})
	var peers []string
	for i := range size {
		peers = append(peers, fmt.Sprintf("p%d", i))
	}
	var wg sync.WaitGroup
	for _, self := range peers {
		wg.Go(func() {
			r, err := ring.Open(ctx, ring.Config{Self: self, Peers: peers, Epoch: 1, Transport: net.Transport(self), Silence: 30 * time.Second})
			if err != nil {
				t.Errorf("%s: %v", self, err)
				return
			}
			c := allreduce.New(r, allreduce.Config{Codec: cd})
			if err := f(ctx, c); err != nil {
				t.Errorf("%s: %v", self, err)
			}
			c.Close()
		})
	}
	wg.Wait()
}

// faulty is a Comm that spoils one element of what it all-reduces.
type faulty struct {
	*allreduce.Comm
	spoil int // the index
}

func (f faulty) AllReduce(ctx context.Context, x allreduce.Vector, op allreduce.Op) error {
	err := f.Comm.AllReduce(ctx, x, op)
	if x.Len() > f.spoil {
		x.Slice(f.spoil, f.spoil+1).Bytes()[x.Type().Size()-2] ^= 0x10
	}
	return err
}
