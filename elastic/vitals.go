package elastic

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Counters are what the system has counted for this process since it began. A
// system that does not tell leaves them 0.
type counters struct {
	at        time.Time
	faults    uint64        // page faults that had to wait for a disk
	ran       time.Duration // all threads together
	queued    time.Duration // ready to run, without a processor; likewise
	throttled time.Duration // by the limit of the cgroup
	stolen    float64       // share of the host's time since it started, taken by its hypervisor…
	total     float64       // …of so many ticks
}

// Vitals keeps the counters of the last seconds, so that it can say what slows
// this process down. Any goroutine may ask.
type vitals struct {
	read func() counters

	mu    sync.Mutex
	looks []counters // oldest first
}

const (
	vitalsEvery = 500 * time.Millisecond
	vitalsKept  = 5
)

func newVitals() *vitals { return &vitals{read: readCounters} }

// run looks until ctx ends.
func (v *vitals) run(ctx context.Context) {
	tick := time.NewTicker(vitalsEvery)
	defer tick.Stop()
	for {
		v.look()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (v *vitals) look() {
	c := v.read()
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.looks) == vitalsKept {
		v.looks = append(v.looks[:0], v.looks[1:]...)
	}
	v.looks = append(v.looks, c)
}

// Cause is the likely reason why a peer is slow.
type cause uint8

const (
	unknown  cause = iota // its clock rate, its disk or its network: the process is not told
	paging                // amount: faults a second
	squeezed              // amount: percent, by the limit of its cgroup
	stolen                // amount: percent of the host
	crowded               // amount: percent of the time in which it could run
)

// What is less than this slows nobody down by much.
const (
	pagingFrom = 50 // faults/s
	shareFrom  = 10 // percent
)

// A reason is a cause with its amount.
type reason struct {
	cause  cause
	amount uint32
}

func (r reason) String() string {
	switch r.cause {
	case paging:
		return fmt.Sprintf("waits for its disk: %d page faults/s", r.amount)
	case squeezed:
		return fmt.Sprintf("its cgroup's processor limit stops it %d%% of the time", r.amount)
	case stolen:
		return fmt.Sprintf("the hypervisor takes %d%% of its host's time", r.amount)
	case crowded:
		return fmt.Sprintf("other load: %d%% of the time it waits for a processor", r.amount)
	}
	return "cause unknown: a slower or throttled processor, or more work"
}

// reason says what slows this process down lately, the gravest cause first.
func (v *vitals) reason() reason {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.looks) < 2 {
		return reason{}
	}
	return since(v.looks[0], v.looks[len(v.looks)-1])
}

// since compares two looks.
func since(a, b counters) reason {
	took := b.at.Sub(a.at)
	percent := func(part, whole float64) uint32 {
		if whole <= 0 || part <= 0 {
			return 0
		}
		return uint32(min(100*part/whole, 100))
	}
	faults := uint32(0)
	if took > 0 && b.faults > a.faults {
		faults = uint32(min(float64(b.faults-a.faults)/took.Seconds(), 1e9))
	}
	queued := (b.queued - a.queued).Seconds()
	for _, r := range []reason{
		{paging, faults},
		{squeezed, percent((b.throttled - a.throttled).Seconds(), took.Seconds())},
		{stolen, percent(b.stolen-a.stolen, b.total-a.total)},
		{crowded, percent(queued, queued+(b.ran-a.ran).Seconds())},
	} {
		if r.cause == paging && r.amount >= pagingFrom || r.cause != paging && r.amount >= shareFrom {
			return r
		}
	}
	return reason{}
}
