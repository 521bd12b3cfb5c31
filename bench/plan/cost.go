package plan

import "math"

// A cost is what an all-reduce takes, in seconds: latency, which is the same for
// all sizes, and what the bytes take.
type cost struct {
	latency, bytes float64
	wire           float64 // bytes that a host sends
	algorithm      string
}

func (c cost) time() float64 { return c.latency + c.bytes }

// How gradients are written: bytes on the wire for each of the vector, and how fast
// a processor writes and reads them, in bytes of the vector a second.
const (
	halfShare = 0.5
	halfSpeed = 6e9
)

// wholeBytes bounds the vectors that travel whole.
const wholeBytes = 16 << 20

// cost returns that of the way that peers choose to all-reduce so many bytes: the
// cheapest for one vector alone.
func (s Setup) cost(size int) cost {
	hosts := (s.Peers + s.Slots - 1) / s.Slots
	if hosts == 1 {
		return s.shared(min(s.Slots, s.Peers), size)
	}
	best := s.ring(s.Peers, hosts, size)
	others := []cost{}
	if s.Slots > 1 {
		others = append(others, s.twoLevel(hosts, size))
	}
	if s.Codec == "raw" && s.Peers*size <= wholeBytes {
		others = append(others, s.exchange(size), s.dissemination(size))
	}
	for _, c := range others {
		if c.time() < best.time() {
			best = c
		}
	}
	return best
}

// carry returns what so many bytes of a vector take on the link of a host.
func (s Setup) carry(size float64) float64 {
	if s.Codec == "half" {
		return max(size*halfShare/s.Link.Bandwidth, size/halfSpeed)
	}
	return size / s.Link.Bandwidth
}

func (s Setup) written(size float64) float64 {
	if s.Codec == "half" {
		return size * halfShare
	}
	return size
}

// ring takes 2(n-1) steps and sends 2(n-1)/n vectors. It leaves each host once, so
// only as many of the hops as there are hosts are between them.
func (s Setup) ring(n, hosts, size int) cost {
	steps, sent := float64(2*(n-1)), 2*float64(n-1)/float64(n)*float64(size)
	far := float64(hosts) / float64(n)
	hop := far*s.Link.Latency.Seconds() + (1-far)*s.Local.Latency.Seconds()
	return cost{steps * hop, s.carry(sent), s.written(sent), "ring"}
}

// exchange takes n-1 steps and sends n-1 vectors.
func (s Setup) exchange(size int) cost {
	n := float64(s.Peers)
	return cost{(n - 1) * s.Link.Latency.Seconds(), s.carry((n - 1) * float64(size)), (n - 1) * float64(size), "exchange"}
}

// dissemination takes log2 n steps and sends n-1 vectors; those of all peers of a
// host leave it over one link.
func (s Setup) dissemination(size int) cost {
	n := float64(s.Peers)
	sent := (n - 1) * float64(size) * float64(s.Slots)
	return cost{math.Ceil(math.Log2(n)) * s.Link.Latency.Seconds(), s.carry(sent), sent, "dissemination"}
}

// shared reads what others have from their memory.
func (s Setup) shared(n, size int) cost {
	return cost{float64(n) * s.Local.Latency.Seconds(), float64(n) / 2 * float64(size) / s.Local.Bandwidth, 0, "shared"}
}

// pieceBytes is how much of a vector goes through the stages of two levels at a
// time.
const pieceBytes = 512 << 10

// twoLevel reduces within hosts, across them and within them again; pieces of the
// vector follow each other, so the slowest stage counts, and the first piece's way
// through the others.
func (s Setup) twoLevel(hosts, size int) cost {
	across, within := s.ring(hosts, hosts, size), s.shared(s.Slots, size)
	first := min(1, pieceBytes/float64(size))
	return cost{
		latency:   across.latency + 2*within.latency,
		bytes:     max(across.bytes, within.bytes) + first*min(across.bytes, within.bytes),
		wire:      across.wire,
		algorithm: "two-level",
	}
}
