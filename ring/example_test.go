package ring_test

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// Three peers pass a word to their next.
func ExampleOpen() {
	net := ringtest.NewNet(ringtest.Options{}) // in real life: tcp.Listen
	peers := []string{"anna", "ben", "cleo"}
	got := make([]string, len(peers))
	var all sync.WaitGroup
	for _, self := range peers {
		all.Go(func() {
			r, err := ring.Open(context.Background(), ring.Config{
				Self: self, Peers: peers, Epoch: 1, Transport: net.Transport(self),
			})
			if err != nil {
				fmt.Println(err)
				return
			}
			defer r.Close()
			lane := r.Lanes()[0]
			if err := lane.Send(ring.Header{}, []byte("hello from "+self)); err != nil {
				fmt.Println(err)
				return
			}
			h, err := lane.Next()
			if err != nil {
				fmt.Println(err)
				return
			}
			body := make([]byte, h.Length)
			io.ReadFull(lane, body)
			got[r.Rank()] = self + " got " + string(body)
		})
	}
	all.Wait()
	for _, line := range got {
		fmt.Println(line)
	}
	// Output:
	// anna got hello from cleo
	// ben got hello from anna
	// cleo got hello from ben
}
