package ring

import (
	"math"
	"slices"
)

// A Way is what a link from one peer to another carries.
type Way struct {
	Rate    float64 // bytes per second
	Latency float64 // seconds
}

// Order returns the order of peers, by rank and with rank 0 first, in which a ring
// is fastest: a ring is as fast as its slowest link, so that counts first, and then
// the sum of the latencies. ways[i][j] leads from i to j. For up to twelve peers it
// is the best order, for more a good one.
func Order(ways [][]Way) []int {
	n := len(ways)
	if n < 3 {
		return identity(n)
	}
	if n <= exactOrder {
		slowest := tour(ways, func(i, j int) float64 { return -ways[i][j].Rate }, math.Max, math.Inf(-1))
		least := -pathCost(ways, slowest).slowest
		return tour(ways, func(i, j int) float64 {
			if -ways[i][j].Rate > least {
				return math.Inf(1)
			}
			return ways[i][j].Latency
		}, func(a, b float64) float64 { return a + b }, 0)
	}
	return improve(ways, nearest(ways))
}

// exactOrder is up to how many peers all orders are looked at: n²·2ⁿ of steps.
const exactOrder = 12

func identity(n int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	return order
}

// A cost is that of a ring; less is better.
type cost struct{ slowest, latency float64 }

func (c cost) less(d cost) bool {
	return c.slowest > d.slowest || c.slowest == d.slowest && c.latency < d.latency
}

// pathCost returns the rate of the slowest link and the sum of the latencies.
func pathCost(ways [][]Way, order []int) cost {
	c := cost{slowest: math.Inf(1)}
	for i, from := range order {
		w := ways[from][order[(i+1)%len(order)]]
		c.slowest, c.latency = min(c.slowest, w.Rate), c.latency+w.Latency
	}
	return c
}

// tour returns the round from 0 through all peers whose lengths, put together by
// join, are least (Held and Karp, "A dynamic programming approach to sequencing
// problems", 1962).
func tour(ways [][]Way, length func(i, j int) float64, join func(a, b float64) float64, nothing float64) []int {
	n := len(ways)
	best := make([][]float64, 1<<n) // of the ways from 0 through a set, by the last
	from := make([][]int, 1<<n)
	for set := 1; set < 1<<n; set += 2 {
		best[set], from[set] = make([]float64, n), make([]int, n)
		for last := range n {
			best[set][last] = math.Inf(1)
			if set == 1 && last == 0 {
				best[set][last] = nothing
			}
			if last == 0 || set&(1<<last) == 0 {
				continue
			}
			before := set &^ (1 << last)
			for prev := range n {
				if before&(1<<prev) == 0 {
					continue
				}
				if l := join(best[before][prev], length(prev, last)); l < best[set][last] {
					best[set][last], from[set][last] = l, prev
				}
			}
		}
	}
	all, end, least := 1<<n-1, 1, math.Inf(1)
	for last := 1; last < n; last++ {
		if l := join(best[all][last], length(last, 0)); l < least {
			end, least = last, l
		}
	}
	var order []int
	for set, at := all, end; set > 1; {
		order = append(order, at)
		set, at = set&^(1<<at), from[set][at]
	}
	order = append(order, 0)
	slices.Reverse(order)
	return order
}

// nearest goes from each peer to the one that is reached best.
func nearest(ways [][]Way) []int {
	order, left := []int{0}, identity(len(ways))[1:]
	for len(left) > 0 {
		at := ways[order[len(order)-1]]
		best := 0
		for i, p := range left {
			if (cost{at[p].Rate, at[p].Latency}).less(cost{at[left[best]].Rate, at[left[best]].Latency}) {
				best = i
			}
		}
		order = append(order, left[best])
		left = slices.Delete(left, best, best+1)
	}
	return order
}

// improve turns stretches round, and moves peers, as long as that helps.
func improve(ways [][]Way, order []int) []int {
	now := pathCost(ways, order)
	for better := true; better; {
		better = false
		for i := 1; i < len(order); i++ {
			for j := i + 1; j <= len(order); j++ {
				turned := slices.Clone(order)
				slices.Reverse(turned[i:j])
				moved := slices.Insert(slices.Delete(slices.Clone(order), i, i+1), j-1, order[i])
				for _, o := range [][]int{turned, moved} {
					if c := pathCost(ways, o); c.less(now) {
						order, now, better = o, c, true
					}
				}
			}
		}
	}
	return order
}
