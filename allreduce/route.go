package allreduce

import "github.com/ringrun/ringrun/ring"

// A route says, for one kind of collective and one peer, what is sent first,
// and for everything that then arrives what is done with it and whether it goes
// on. It is arithmetic: relay does the work.
//
// Where a collective has a root the peer at distance k is the k-th after it.
// There the peers send an empty frame at step 0 first, so that those who
// disagree notice even if they have nothing else to say to each other.
type route struct {
	cut
	kind       Op
	rank, root int
}

// A leg is a range of elements on its way from one peer to the next.
type leg struct {
	step   int // in the headers of its frames
	lo, hi int
	merge  bool // with what is here; else it is copied
	final  bool // merged, it is the result
	next   int  // step at which it goes on; 0: it stays here
}

// greets reports whether an empty frame is sent first.
func (r route) greets() bool {
	switch r.kind {
	case broadcast, scatter, gatherTo, reduceTo:
		return true
	}
	return false
}

// distance returns how many hops the root is away, against the ring.
func (r route) distance() int { return mod(r.rank-r.root, r.size) }

// opening returns what is sent before anything has arrived.
func (r route) opening() []leg {
	k := r.distance()
	switch {
	case r.kind == allReduce || r.kind == reduceScatter:
		return []leg{r.leg(0, ring.SendChunk(r.rank, r.size, 0))}
	case r.kind == allGather:
		return []leg{r.leg(0, r.rank)}
	case r.kind == broadcast && k == 0, r.kind == reduceTo && k == 1:
		return []leg{{step: 1, hi: r.n}}
	case r.kind == gatherTo && k > 0:
		return []leg{r.leg(1, r.rank)}
	case r.kind == scatter && k == 0: // the longest way first
		var all []leg
		for i := range r.size - 1 {
			all = append(all, r.leg(1+i, mod(r.root+r.size-1-i, r.size)))
		}
		return all
	}
	return nil
}

// arrivals returns how many legs arrive, of which the first so many go on.
func (r route) arrivals() (all, onward int) {
	n, k := r.size, r.distance()
	switch r.kind {
	case allReduce:
		return ring.Steps(n), ring.Steps(n) - 1
	case reduceScatter, allGather:
		return n - 1, n - 2
	case broadcast:
		if k > 0 {
			all = 1
		}
		if k > 0 && k < n-1 {
			onward = 1
		}
	case reduceTo:
		if k != 1 {
			all = 1
		}
		if k > 1 {
			onward = 1
		}
	case scatter:
		if k > 0 {
			all, onward = n-k, n-k-1
		}
	case gatherTo:
		if k > 0 {
			return k - 1, k - 1
		}
		return n - 1, 0
	}
	return all, onward
}

// arrival returns the i-th leg to arrive.
func (r route) arrival(i int) leg {
	var a leg
	switch r.kind {
	case allReduce, reduceScatter:
		a = r.leg(i, ring.RecvChunk(r.rank, r.size, i))
		a.merge, a.final = ring.Reduces(r.size, i), i == r.size-2
	case allGather:
		a = r.leg(i, mod(r.rank-1-i, r.size))
	case broadcast:
		a = leg{step: 1, hi: r.n}
	case reduceTo:
		a = leg{step: 1, hi: r.n, merge: true, final: r.rank == r.root}
	case scatter:
		a = r.leg(1+i, mod(r.root+r.size-1-i, r.size))
	case gatherTo: // the nearest first, then what that had from the one before
		a = r.leg(1+i, mod(r.rank-1-i, r.size))
	}
	if _, onward := r.arrivals(); i < onward {
		a.next = a.step + 1
		if r.kind == broadcast || r.kind == reduceTo || r.kind == scatter {
			a.next = a.step
		}
	}
	return a
}

// leg returns the part of a rank, on its way at a step.
func (r route) leg(step, rank int) leg {
	lo, hi := r.part(rank)
	return leg{step: step, lo: lo, hi: hi}
}
