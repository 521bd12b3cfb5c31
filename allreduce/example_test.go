package allreduce_test

import (
	"context"
	"fmt"
	"log"
	"sync"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// Three peers, here in one process over a network in memory, sum their vectors.
func Example() {
	peers := []string{"a", "b", "c"}
	net := ringtest.NewNet(ringtest.Options{})
	results := make([][]float32, len(peers))
	var wg sync.WaitGroup
	for i, self := range peers {
		wg.Go(func() {
			ctx := context.Background()
			r, err := ring.Open(ctx, ring.Config{Self: self, Peers: peers, Epoch: 1, Transport: net.Transport(self)})
			if err != nil {
				log.Fatal(err)
			}
			c := allreduce.New(r, allreduce.Config{})
			defer c.Close()
			x := []float32{1, float32(c.Rank()), float32(c.Rank() * c.Rank())}
			if err := c.AllReduce(ctx, allreduce.Of(x), allreduce.Sum); err != nil {
				log.Fatal(err)
			}
			results[i] = x
		})
	}
	wg.Wait()
	for i, self := range peers {
		fmt.Println(self, results[i])
	}
	// Output:
	// a [3 3 5]
	// b [3 3 5]
	// c [3 3 5]
}
