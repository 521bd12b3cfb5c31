package allreduce

import (
	"math/bits"
	"time"
)

// A copier chooses between two ways in which a peer copies. Where the processors of
// the peers share a cache an ordinary copy is faster, and where they do not the
// other way, because lines that another processor has written or read are slow to
// come by. Which of the two it is may change while a virtual machine runs. So now
// and then, in the same turn on all peers, the copier tries the other way. What it
// chooses changes no bit of any result.
type copier struct {
	way    func(to, from []byte) // the other one
	least  int                   // bytes from which on there is a choice
	other  bool                  // the way of this turn
	counts bool                  // what this turn takes
	class  int
	began  time.Time
	takes  [2][64]float64 // nanoseconds of late, by way and class of size
}

const (
	tryEvery = 256     // turns
	tryFor   = 4       // turns; only the last shows what they take when they follow each other
	lookFor  = 16      // turns of ours that are timed: the clock costs something, too
	leastTry = 1 << 19 // bytes from which on it may pay to write to the stage past the caches
	faster   = 0.75    // how much the newest time counts, if it is shorter
	slower   = 0.25    // and if not: others may have had the processor
	worst    = 4       // times as long as usual
)

func wayOf(other bool) int {
	if other {
		return 1
	}
	return 0
}

// begin chooses for a turn on a vector of so many bytes.
func (k *copier) begin(turn uint64, bytes int) {
	k.other, k.class = false, 0
	if bytes < k.least {
		return
	}
	k.class = bits.Len(uint(bytes))
	plain, other := k.takes[0][k.class], k.takes[1][k.class]
	k.other = other > 0 && other < plain
	phase := turn % tryEvery
	if phase < tryFor {
		k.other = !k.other
	}
	k.counts = phase == tryFor-1 || phase >= 2*tryFor && phase < 2*tryFor+lookFor
	if k.counts {
		k.began = time.Now()
	}
}

// end notes how long the turn took.
func (k *copier) end() {
	if k.class == 0 || !k.counts {
		return
	}
	took := float64(time.Since(k.began))
	late := &k.takes[wayOf(k.other)][k.class]
	if *late == 0 {
		*late = took
	}
	weight := slower
	if took < *late {
		weight = faster
	}
	*late += weight * (min(took, worst**late) - *late)
}

// copy copies as much as to holds.
func (k *copier) copy(to, from []byte) {
	if k.other {
		k.way(to, from)
		return
	}
	copy(to, from)
}
