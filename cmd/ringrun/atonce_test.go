package main

import (
	"flag"
	"sync"
	"testing"
)

var long = flag.Bool("long", false, "try all broken set-ups and networks, not only those that are quick to make")

func needLong(t *testing.T) {
	t.Helper()
	if !*long {
		t.Skip("without -long")
	}
}

// A story is one of many that are told at once.
type story struct {
	name string
	tell func(t *testing.T)
}

// atOnce tells stories that wait more than they work: more of them at a time than
// there are processors.
func atOnce(t *testing.T, stories []story) {
	const most = 8
	turn := make(chan struct{}, most)
	var telling sync.WaitGroup
	for _, s := range stories {
		telling.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			t.Run(s.name, s.tell)
		})
	}
	telling.Wait()
}
