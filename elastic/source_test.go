package elastic

import (
	"slices"
	"strings"
	"testing"
)

func TestDecide(t *testing.T) {
	v := func(steps, sum uint64) status { return status{Steps: steps, Sum: sum, Veteran: true, Holding: true} }
	n := func(steps, sum uint64) status { return status{Steps: steps, Sum: sum} }
	for _, tt := range []struct {
		name   string
		all    []status
		source int
		needs  []bool
		hold   []bool
	}{
		{"all equal", []status{v(5, 1), v(5, 1)}, 0, []bool{false, false}, []bool{true, true}},
		{"first start, different weights", []status{v(0, 1), v(0, 2), v(0, 2)}, 0, []bool{false, true, true}, []bool{true, false, false}},
		{"two that differ: the lower rank", []status{v(3, 1), v(3, 2)}, 0, []bool{false, true}, []bool{true, false}},
		{"a newcomer", []status{v(5, 1), n(0, 9)}, 0, []bool{false, true}, []bool{true, false}},
		{"a newcomer at rank 0 with more steps is no source", []status{n(9, 9), v(5, 1)}, 1, []bool{true, false}, []bool{false, true}},
		{"one committed, two did not", []status{v(5, 1), v(6, 2), v(5, 1)}, 1, []bool{true, false, true}, []bool{false, true, false}},
		{"a rejoined peer's gradient does not count", []status{v(5, 1), {Steps: 5, Sum: 1, Holding: true}}, 0, []bool{false, false}, []bool{true, false}},
		{"divergence: the majority", []status{v(5, 3), v(5, 1), v(5, 1)}, 1, []bool{true, false, false}, []bool{false, true, true}},
	} {
		p, err := decide(tt.all)
		if err != nil || p.Source != tt.source || !slices.Equal(p.Needs, tt.needs) || !slices.Equal(p.Hold, tt.hold) {
			t.Errorf("%s: source %d needs %v hold %v (%v); want %d %v %v", tt.name, p.Source, p.Needs, p.Hold, err, tt.source, tt.needs, tt.hold)
		}
	}
	if _, err := decide([]status{{ID: "late-1"}}); err == nil || !strings.Contains(err.Error(), "late-1") {
		t.Errorf("without a veteran: %v, want an error that names late-1", err)
	}
}

func TestDeal(t *testing.T) {
	batch := []int{0, 1, 2, 3, 4, 5}
	holds := func(hand ...int) status { return status{Veteran: true, Holding: true, Hand: hand} }
	free := status{Veteran: true}
	for _, tt := range []struct {
		name  string
		all   []status
		hands [][]int
		anew  bool
	}{
		{"a normal step", []status{free, free}, [][]int{{0, 1, 2, 3}, {4, 5}}, false},
		{"one of three died; its part waits for the next step", []status{holds(0, 1), holds(4, 5)}, [][]int{{0, 1}, {4, 5}}, false},
		{"one died, one came: it takes the dead peer's part", []status{holds(0, 1), holds(4, 5), free}, [][]int{{0, 1}, {4, 5}, {2, 3}}, false},
		{"one is in the step, the others have not begun", []status{holds(0, 1), free, free}, [][]int{{0, 1}, {2, 3}, {4, 5}}, false},
		{"all that had samples died", []status{holds(), holds()}, nil, true},
	} {
		p, err := decide(tt.all)
		if err != nil {
			t.Fatal(err)
		}
		hands, anew := p.deal(tt.all, batch, 2)
		if anew != tt.anew || !slices.EqualFunc(hands, tt.hands, slices.Equal) {
			t.Errorf("%s: %v, anew %v; want %v, %v", tt.name, hands, anew, tt.hands, tt.anew)
		}
	}
}
