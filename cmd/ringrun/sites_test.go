package main

import (
	"slices"
	"testing"
)

// Slots that come back do not share their numbers with workers that still leave.
func TestLocalNumbers(t *testing.T) {
	j := &job{}
	want := func(slots int, numbers ...int) {
		t.Helper()
		j.resize(host{name: "a", slots: slots})
		var got []int
		for _, sl := range j.find("a").slots {
			got = append(got, sl.local)
		}
		if !slices.Equal(got, numbers) {
			t.Fatalf("numbers %v, want %v", got, numbers)
		}
	}
	want(3, 0, 1, 2)
	for _, sl := range j.find("a").slots {
		j.peers = append(j.peers, &peer{slot: sl, state: running})
	}
	want(1, 0)
	want(3, 0, 3, 4)
	want(1, 0)
	for _, p := range j.peers[1:] {
		p.state = finished
	}
	want(3, 0, 1, 2)
}
