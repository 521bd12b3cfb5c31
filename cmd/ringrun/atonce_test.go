package main

import (
	"flag"
	"sync"
	"testing"
	"time"
)

var long = flag.Bool("long", false, "try all broken set-ups and networks, not only those that are quick to make")

func needLong(t *testing.T) {
	t.Helper()
	if !*long {
		t.Skip("without -long")
	}
}

// within reports what took longer than it may. Without -long only what hangs is
// wrong: other tests, and other machines on this host, take their time as well.
func within(t testing.TB, took, most time.Duration) {
	t.Helper()
	if !*long {
		most = patience
	}
	if took > most {
		t.Errorf("that took %v, want at most %v", took, most)
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
