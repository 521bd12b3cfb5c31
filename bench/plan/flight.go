package plan

import "math"

// A flight is what became of the buckets of a step; times are in seconds from its
// beginning.
type flight struct {
	end       float64 // the last bucket is back
	busy      float64 // time with something under way
	bytes     float64 // what the bytes alone take
	wire      float64 // bytes that a host sends
	buckets   int
	algorithm string
}

// fly lets the buckets of a step travel, one behind the other on the links: the
// bytes of one wait for those before, what messages take besides overlaps, as far
// as so many bytes may be under way.
func (s Setup) fly(compute float64) flight {
	var f flight
	if s.Peers == 1 {
		f.end = compute
		return f
	}
	free, most := 0.0, 0
	cycle := s.Cycle.Seconds()
	for _, b := range s.buckets(compute) {
		f.buckets++
		c := s.cost(b.bytes)
		start := max(b.ready, free)
		if cycle > 0 {
			start = math.Ceil(start/cycle) * cycle
		}
		whole := c.latency + c.bytes
		free = start + max(c.bytes, whole*min(1, float64(b.bytes)/inFlight))
		if cycle > 0 {
			free = start + whole // those who count cycles wait for what is under way
		}
		f.busy += min(whole, max(0, start+whole-max(f.end, start)))
		f.end = max(f.end, start+whole)
		f.bytes += c.bytes
		f.wire += c.wire
		if b.bytes > most {
			most, f.algorithm = b.bytes, c.algorithm
		}
	}
	return f
}

// A bucket is so many bytes of gradients that are ready at a moment.
type bucket struct {
	bytes int
	ready float64
}

// buckets packs the gradients in the order in which they are ready. Those of a layer
// stay together: a bucket is closed when it is large enough.
func (s Setup) buckets(compute float64) (all []bucket) {
	work := 0.0
	for _, l := range s.Layers {
		work += l.Work
	}
	forward := compute * s.Forward
	var b bucket
	done, limit := 0.0, s.First
	for _, l := range s.Layers {
		done += l.Work
		b.ready = forward + (compute-forward)*done/work
		if s.Late {
			b.ready = compute
		}
		if b.bytes += l.Params * s.Width; b.bytes >= limit {
			all = append(all, b)
			b.bytes, limit = 0, s.Bucket
		}
	}
	if b.bytes > 0 {
		all = append(all, b)
	}
	return all
}
