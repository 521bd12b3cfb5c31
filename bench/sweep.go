package bench

import (
	"context"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/ringrun/ringrun/allreduce"
)

// A Sweep times a collective over a list of sizes. Zero fields mean what is
// said beside them.
type Sweep struct {
	Collective string // "allreduce"; see Collectives
	Transport  string // what results are labelled with; the Comm decides
	Codec      string
	Algorithm  allreduce.Algorithm // of an all-reduce; Auto
	Sizes      []int               // bytes, multiples of the type's size
	Type       allreduce.Type      // Float32
	Op         allreduce.Op        // Sum
	Rounds     int                 // 3
	MinTime    time.Duration       // 500 ms: a round lasts about so long
	MaxForeign float64             // 0.08: rounds in which others used more processors are repeated,
	MaxTries   int                 // 4: but so many times the rounds at most

	// Arena: vectors lie where the peers of this host reduce them in place; Alloc
	// says where that is, on each peer.
	Arena bool
	Alloc func(bytes int) []byte `json:"-"`
}

const (
	minIters    = 3
	maxIters    = 100_000
	warmup      = 50 * time.Millisecond
	disturbance = 200 * time.Millisecond // wait so long when others disturbed a round
)

func (s Sweep) withDefaults() Sweep {
	if s.Collective == "" {
		s.Collective = "allreduce"
	}
	if s.Type == 0 {
		s.Type = allreduce.Float32
	}
	if s.Rounds == 0 {
		s.Rounds = 3
	}
	if s.MinTime == 0 {
		s.MinTime = 500 * time.Millisecond
	}
	if s.MaxForeign == 0 {
		s.MaxForeign = 0.08
	}
	if s.MaxTries == 0 {
		s.MaxTries = 4
	}
	if !s.Arena || s.Alloc == nil {
		s.Alloc = heap
	}
	return s
}

// sweep is a Sweep in progress on one peer.
type sweep struct {
	Sweep
	what     collective
	c        Comm
	buf      buffer
	width    int // bytes per element
	held     int // bytes of the buffer
	warmed   int // operations before the first round of a size
	progress func(string)
}

// Run takes part in the sweep; see Job.Run. A wrong result is not an error of
// Run: it is counted in the results.
func (s Sweep) Run(ctx context.Context, c Comm, report func(Result), progress func(string)) error {
	s = s.withDefaults()
	what, err := findCollective(s.Collective)
	if err != nil {
		return err
	}
	w := &sweep{Sweep: s, what: what, c: c, width: s.Type.Size(), progress: progress}
	most := 0
	for _, bytes := range s.Sizes {
		if bytes < 0 || bytes%w.width != 0 {
			return fmt.Errorf("bench: %d bytes are no whole number of %v", bytes, s.Type)
		}
		most = max(most, bytes)
	}
	if what.twice {
		most *= 2
	}
	w.held = most
	if w.buf, err = newBuffer(s.Type, most/w.width, s.Alloc); err != nil {
		return err
	}
	for _, bytes := range s.Sizes {
		r, err := w.size(ctx, bytes)
		if err != nil {
			return fmt.Errorf("%d bytes: %w", bytes, err)
		}
		if c.Rank() == 0 {
			report(Result{Size: &r})
		}
	}
	return nil
}

// size checks and measures one size.
func (s *sweep) size(ctx context.Context, bytes int) (SizeResult, error) {
	n := bytes / s.width
	s.say("%s: checking the result", FormatSize(bytes))
	wrong, err := s.check(ctx, n)
	if err != nil {
		return SizeResult{}, err
	}
	s.prepare(n)
	s.warmed = 1 // the check
	iters, err := s.calibrate(ctx, n)
	if err != nil {
		return SizeResult{}, err
	}
	m, err := s.rounds(ctx, n, iters)
	if err != nil {
		return SizeResult{}, err
	}
	r := s.result(bytes, wrong, iters, m)
	r.Warmup = s.warmed
	table, err := exchange(ctx, s.c, max(0, residentBytes()-float64(s.held)))
	for _, row := range table {
		r.MemoryMB = max(r.MemoryMB, row[0]/1e6)
	}
	return r, err
}

// check runs the operation once on known operands and counts, over all peers,
// the elements that are wrong. Where all peers must end with the same vector, they
// must end with the same bits.
func (s *sweep) check(ctx context.Context, n int) (int, error) {
	size := s.c.Size()
	s.buf.fill(s.Op, s.c.Rank(), size, n)
	if err := s.what.run(s, ctx, n); err != nil {
		return 0, err
	}
	lo, hi := s.what.where(s, n)
	bad := s.buf.differ(lo, hi, tolerance(s.Type, s.Codec, size), func(i int) (want, scale float64) { return s.what.want(s, n, i) })
	var sum uint32
	if s.what.alike {
		sum = crc32.Checksum(s.buf.vector(n).Bytes(), castagnoli)
	}
	table, err := exchange(ctx, s.c, float64(bad), float64(sum))
	if err != nil {
		return 0, err
	}
	wrong := int(column(table, 0))
	for r, row := range table {
		if row[1] != table[0][1] && wrong == 0 {
			return 0, fmt.Errorf("bench: ranks 0 and %d hold different bits, each within the tolerance", r)
		}
	}
	return wrong, nil
}

// prepare sets what the timed operations reduce. Raw bytes cost the same
// whatever they are: zeros stay zeros, however often they are summed. Other
// codecs get the operands, put back before each operation (outside its time).
func (s *sweep) prepare(n int) {
	if s.raw() {
		s.buf.clear(n)
		return
	}
	s.buf.fill(s.Op, s.c.Rank(), s.c.Size(), n)
	s.buf.keep(n)
}

func (s *sweep) raw() bool { return s.Codec == "" || s.Codec == "raw" }

// run does iters operations and appends their durations to times. time.Since reads
// one clock, as programs in C do; time.Now reads two.
func (s *sweep) run(ctx context.Context, n, iters int, times []time.Duration) ([]time.Duration, error) {
	begin, last := time.Now(), time.Duration(0)
	for range iters {
		if !s.raw() {
			s.buf.restore(n)
			last = time.Since(begin)
		}
		if err := s.what.run(s, ctx, n); err != nil {
			return nil, err
		}
		now := time.Since(begin)
		times = append(times, now-last)
		last = now
	}
	return times, nil
}

// calibrate warms up, for 50 ms but no longer than a round, and returns how many operations fill MinTime, as rank 0
// sees it.
func (s *sweep) calibrate(ctx context.Context, n int) (int, error) {
	for k := 1; ; k *= 2 {
		start := time.Now()
		if _, err := s.run(ctx, n, k, nil); err != nil {
			return 0, err
		}
		table, err := exchange(ctx, s.c, time.Since(start).Seconds())
		if err != nil {
			return 0, err
		}
		took := table[0][0]
		s.warmed += k
		if k >= 2 && (took >= min(warmup, s.MinTime).Seconds() || k >= 4096) {
			iters := s.MinTime.Seconds() / max(took/float64(k), 1e-9)
			return int(min(max(iters, minIters), maxIters)), nil
		}
	}
}

// rounds measures until enough rounds were undisturbed, or too many were tried.
func (s *sweep) rounds(ctx context.Context, n, iters int) (measured, error) {
	var m measured
	for try := 1; len(m.times) < s.Rounds; try++ {
		s.say("%s: round %d of %d, %d operations", FormatSize(n*s.width), len(m.times)+1, s.Rounds, iters)
		r, err := round(ctx, s.c, func() ([]time.Duration, error) {
			return s.run(ctx, n, iters, make([]time.Duration, 0, iters))
		})
		if err != nil {
			return m, err
		}
		if r.foreign/r.wall > s.MaxForeign && try < s.Rounds*s.MaxTries {
			s.say("%s: others used %.2f processors; once more", FormatSize(n*s.width), r.foreign/r.wall)
			if err := pause(ctx, disturbance); err != nil {
				return m, err
			}
			continue
		}
		m.add(r)
	}
	return m, nil
}

func (s *sweep) result(bytes, wrong, iters int, m measured) SizeResult {
	sp := spreadOf(m.times)
	gb, ops := float64(bytes)/1e9, float64(iters*len(m.times))
	bus, op := s.what.bus(s.c.Size()), "none"
	if s.what.reduces {
		op = s.Op.String()
	}
	return SizeResult{
		Peer:       s.Label(),
		Size:       s.c.Size(),
		Bytes:      bytes,
		Count:      bytes / s.width,
		Type:       s.Type.String(),
		Op:         op,
		Collective: s.Collective,
		MedianUS:   micros(sp.Median), MinUS: micros(sp.Min), P99US: micros(sp.P99), MeanUS: micros(sp.Mean),
		AlgGBps:  rate(gb, sp.Median),
		BusGBps:  bus * rate(gb, sp.Median),
		BusLow:   bus * rate(gb, sp.High),
		BusHigh:  bus * rate(gb, sp.Low),
		CPUPerGB: share(m.cpu, gb*ops),
		CPUs:     share(m.cpu, m.wall),
		Foreign:  share(m.foreign, m.wall),
		Steal:    share(m.steal, m.wall),
		Iters:    iters, Rounds: len(m.times),
		Errors:    wrong,
		OK:        wrong == 0,
		Transport: s.Transport,
		Algorithm: s.algorithm(bytes),
		Codec:     s.Codec,
	}
}

// Label names us in the results.
func (s Sweep) Label() string {
	if s.Arena {
		return Label(s.Transport, s.Codec) + "-arena"
	}
	return Label(s.Transport, s.Codec)
}

func (s *sweep) say(format string, args ...any) {
	if s.c.Rank() == 0 {
		s.progress(fmt.Sprintf(format, args...))
	}
}

// algorithm names the one by which an all-reduce was done.
func (s *sweep) algorithm(bytes int) string {
	switch {
	case s.Collective != "allreduce":
		return ""
	case s.Algorithm != allreduce.Auto:
		return s.Algorithm.String()
	}
	return s.c.Choice(s.buf.vector(bytes / s.width)).String()
}
