package ring

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// randomWays has rates of a few kinds, as networks do, and latencies.
func randomWays(r *rand.Rand, n int) [][]Way {
	ways := make([][]Way, n)
	for i := range ways {
		for range n {
			ways[i] = append(ways[i], Way{Rate: []float64{1, 10, 100}[r.IntN(3)], Latency: r.Float64()})
		}
	}
	return ways
}

// bestCost tries all orders.
func bestCost(ways [][]Way) cost {
	best := cost{slowest: -1}
	var try func(order, left []int)
	try = func(order, left []int) {
		if len(left) == 0 {
			if c := pathCost(ways, order); c.less(best) {
				best = c
			}
			return
		}
		for i, p := range left {
			try(append(slices.Clone(order), p), slices.Delete(slices.Clone(left), i, i+1))
		}
	}
	try([]int{0}, identity(len(ways))[1:])
	return best
}

func TestOrderIsBest(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 7))
	for range 60 {
		ways := randomWays(r, 3+r.IntN(5))
		order, want := Order(ways), bestCost(ways)
		got := pathCost(ways, order)
		if got.slowest != want.slowest || math.Abs(got.latency-want.latency) > 1e-9 {
			t.Errorf("%d peers: order %v costs %v, the best %v", len(ways), order, got, want)
		}
		checkOrder(t, order, len(ways))
	}
}

func checkOrder(t *testing.T, order []int, n int) {
	t.Helper()
	if sorted := slices.Sorted(slices.Values(order)); !slices.Equal(sorted, identity(n)) || n > 0 && order[0] != 0 {
		t.Errorf("%v is no order of %d peers with 0 first", order, n)
	}
}

// TestOrderOfMany: hosts whose peers are dealt out in turns end up together.
func TestOrderOfMany(t *testing.T) {
	const n, hosts = 24, 3
	ways := make([][]Way, n)
	for i := range ways {
		for j := range n {
			w := Way{Rate: 100e6, Latency: 1e-3}
			if i%hosts == j%hosts {
				w = Way{Rate: 10e9, Latency: 1e-6}
			}
			ways[i] = append(ways[i], w)
		}
	}
	order := Order(ways)
	checkOrder(t, order, n)
	crossings := 0
	for i, p := range order {
		if p%hosts != order[(i+1)%n]%hosts {
			crossings++
		}
	}
	if crossings != hosts {
		t.Errorf("%v leaves hosts %d times, want %d", order, crossings, hosts)
	}
}

// TestOrderIsNoWorse than the order of ranks, and the same each time.
func TestOrderIsNoWorse(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 7))
	for _, n := range []int{0, 1, 2, 3, 12, 13, 20, 40} {
		ways := randomWays(r, n)
		order := Order(ways)
		checkOrder(t, order, n)
		if n > 0 && pathCost(ways, identity(n)).less(pathCost(ways, order)) || !slices.Equal(order, Order(ways)) {
			t.Errorf("%d peers: %v, or another order the second time", n, order)
		}
	}
}
