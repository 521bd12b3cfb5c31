// Package plan predicts how long a step of data-parallel training takes among n
// peers, from what a step takes one of them and what the links between them carry.
//
// [Setup.Predict] gives the time, how much of the communication the backward pass
// hides, and what limits; [Setup.Advice] what would help. The model is that of
// docs/performance.md: gradients become ready one after another while the backward
// pass goes on, travel in buckets, one behind the other, and the step ends when
// the last is back.
package plan

import (
	"fmt"
	"math"
	"time"
)

// A Setup is what is planned. Zero fields mean the defaults given here.
type Setup struct {
	Peers   int
	Slots   int           // peers on each host; default 1
	Params  int           // parameters
	Width   int           // bytes of one; default 4
	Codec   string        // raw (default) or half
	Compute time.Duration // of one peer in a step: forward and backward pass
	Update  time.Duration // of the parameters, after all gradients are there
	Batch   int           // samples of one peer in a step; 0: not known
	// Constant keeps the samples of a step when there are more peers: each computes
	// less. Default: the samples of each peer stay.
	Constant bool

	Forward float64       // share of Compute; default 1/3
	Layers  []Layer       // in the order of the backward pass; default: 64 alike
	First   int           // bytes of the first bucket; default 64 KiB
	Bucket  int           // of the others; default 256 KiB
	Late    bool          // nothing travels before the backward pass has ended
	Cycle   time.Duration // buckets begin at multiples of it; default: at any time
	Jitter  float64       // standard deviation of Compute from peer to peer and step to step, as a share of it

	Link  Link // between hosts
	Local Link // within one; default: shared memory, 10 GB/s and 1 µs
}

// A Link carries a message in Latency, with what processors do for it, plus its
// bytes through Bandwidth, in bytes a second. All peers of a host share it.
type Link struct {
	Latency   time.Duration
	Bandwidth float64
}

// A Layer has some of the parameters. Its gradients are ready when the backward
// pass has been through it.
type Layer struct {
	Params int
	Work   float64 // of the backward pass, in any unit
}

// ErrSetup reports a Setup that makes no sense.
type ErrSetup struct{ Why string }

func (e *ErrSetup) Error() string { return "plan: " + e.Why }

func bad(format string, args ...any) error { return &ErrSetup{fmt.Sprintf(format, args...)} }

const (
	evenLayers = 64
	// inFlight is how many bytes of vectors a peer works on at the same time.
	inFlight = 64 << 20
)

func (s Setup) withDefaults() Setup {
	s.Slots, s.Width = max(s.Slots, 1), orElse(s.Width, 4)
	s.Forward = orElse(s.Forward, 1./3)
	s.First, s.Bucket = orElse(s.First, 64<<10), orElse(s.Bucket, 256<<10)
	s.Codec = orElse(s.Codec, "raw")
	s.Local.Latency = orElse(s.Local.Latency, time.Microsecond)
	s.Local.Bandwidth = orElse(s.Local.Bandwidth, 10e9)
	if len(s.Layers) == 0 {
		for i := range evenLayers {
			s.Layers = append(s.Layers, Layer{Params: (i+1)*s.Params/evenLayers - i*s.Params/evenLayers, Work: 1})
		}
	}
	return s
}

func orElse[T comparable](x, otherwise T) T {
	var none T
	if x == none {
		return otherwise
	}
	return x
}

// validate checks a Setup that has its defaults.
func (s Setup) validate() error {
	work := 0.0
	for _, l := range s.Layers {
		if l.Params < 0 || l.Work < 0 {
			return bad("a layer of %d parameters and work %v", l.Params, l.Work)
		}
		work += l.Work
	}
	switch {
	case s.Peers < 1 || s.Peers > 1<<20:
		return bad("%d peers, want 1 to %d", s.Peers, 1<<20)
	case s.Params < 1 || s.Params > 1<<42:
		return bad("%d parameters", s.Params)
	case s.Compute <= 0 || s.Compute > 24*time.Hour || s.Update < 0 || s.Cycle < 0:
		return bad("%v of computation in a step, an update of %v", s.Compute, s.Update)
	case !(s.Forward > 0 && s.Forward < 1):
		return bad("a forward pass of %v of the computation", s.Forward)
	case s.Codec != "raw" && s.Codec != "half":
		return bad("codec %q: how much zstd and others save depends on the gradients; there are raw and half", s.Codec)
	case s.Width < 1 || s.Width > 8 || s.First < 1 || s.Bucket < 1 || !(s.Jitter >= 0 && s.Jitter <= 1):
		return bad("parameters of %d bytes, buckets of %d and %d, jitter %v", s.Width, s.First, s.Bucket, s.Jitter)
	case !(work > 0):
		return bad("layers without work")
	case s.Peers > s.Slots && !(s.Link.Bandwidth > 0 && s.Link.Latency >= 0):
		return bad("several hosts, and links of %v bytes/s and %v between them", s.Link.Bandwidth, s.Link.Latency)
	}
	return nil
}

// A Prediction is what a step takes.
type Prediction struct {
	Peers      int           `json:"peers"`
	Step       time.Duration `json:"step_ns"`
	Compute    time.Duration `json:"compute_ns"` // with the update, of the slowest peer
	Comm       time.Duration `json:"comm_ns"`    // during which something travels
	Hidden     time.Duration `json:"hidden_ns"`  // of that, behind the backward pass
	Exposed    time.Duration `json:"exposed_ns"` // the rest
	Efficiency float64       `json:"efficiency"` // of what so many peers would do if they need not talk
	Speedup    float64       `json:"speedup"`    // over one peer
	Algorithm  string        `json:"algorithm"`  // for most bytes
	Buckets    int           `json:"buckets"`
	Wire       float64       `json:"wire_bytes"` // that a host sends in a step
	Limit      string        `json:"limit"`      // what keeps it from being quicker

	latency float64 // seconds of Comm in which no bytes of others take the links
}

// Predict returns what a step takes.
func (s Setup) Predict() (Prediction, error) {
	s = s.withDefaults()
	if err := s.validate(); err != nil {
		return Prediction{}, err
	}
	return s.predict(), nil
}

// Table predicts for 1, 2, 4, … peers, and as many as are planned.
func (s Setup) Table() ([]Prediction, error) {
	s = s.withDefaults()
	if err := s.validate(); err != nil {
		return nil, err
	}
	var all []Prediction
	most := s.Peers
	for n := 1; n < most; n *= 2 {
		s.Peers = n
		all = append(all, s.predict())
	}
	s.Peers = most
	return append(all, s.predict()), nil
}

func (s Setup) predict() Prediction {
	share := 1.0
	if s.Constant {
		share = 1 / float64(s.Peers)
	}
	alone := s.Compute.Seconds()
	compute := alone * share * slowest(s.Peers, s.Jitter)
	f := s.fly(compute)
	update := s.Update.Seconds()
	step := max(f.end, compute) + update
	p := Prediction{
		Peers: s.Peers, Step: seconds(step), Compute: seconds(compute + update),
		Comm: seconds(f.busy), Exposed: seconds(max(0, f.end-compute)), Hidden: seconds(max(0, f.busy-max(0, f.end-compute))),
		Efficiency: (alone*share + update) / step, Algorithm: f.algorithm, Buckets: f.buckets, Wire: f.wire, latency: max(0, f.busy-f.bytes),
	}
	p.Speedup = (alone + update) / step * float64(s.Peers)
	if s.Constant {
		p.Speedup = (alone + update) / step
		p.Efficiency = p.Speedup / float64(s.Peers)
	}
	p.Limit = s.limit(p, compute)
	return p
}

func seconds(x float64) time.Duration { return time.Duration(x * float64(time.Second)) }

// slowest is how many times as long as usual the slowest of n peers computes: the
// expectation of the largest of n values of a lognormal distribution, with Blom's
// approximation of that of the normal one.
func slowest(n int, sigma float64) float64 {
	if n < 2 || sigma == 0 {
		return 1
	}
	q := (float64(n) - 0.375) / (float64(n) + 0.25)
	return math.Exp(sigma * math.Sqrt2 * math.Erfinv(2*q-1))
}
