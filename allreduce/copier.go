package allreduce

import (
	"math/bits"
	"time"

	"github.com/ringrun/ringrun/allreduce/internal/simd"
)

// A copier chooses how a peer copies large vectors to its stage: through the
// caches, or past them. Where the processors of the peers share a cache the first is faster, and
// where they do not the second, because lines that another processor has written
// or read are slow to come by. Which of the two it is may change while a virtual
// machine runs. So now and then, in the same turn on all peers, the copier tries
// the other way. What it chooses changes no bit of any result.
type copier struct {
	past   bool // the caches, in this turn
	counts bool // what this turn takes
	class  int
	began  time.Time
	takes  [2][64]float64 // nanoseconds of late, by way and class of size
}

const (
	tryEvery = 256     // turns
	tryFor   = 4       // turns; only the last shows what they take when they follow each other
	leastTry = 1 << 19 // bytes from which on there is a choice
	faster   = 0.75    // how much the newest time counts, if it is shorter
	slower   = 0.25    // and if not: others may have had the processor
	worst    = 4       // times as long as usual
)

func way(past bool) int {
	if past {
		return 1
	}
	return 0
}

// begin chooses for a turn on a vector of so many bytes.
func (k *copier) begin(turn uint64, bytes int) {
	k.past, k.class = false, 0
	if bytes < leastTry {
		return
	}
	k.class = bits.Len(uint(bytes))
	through, past := k.takes[0][k.class], k.takes[1][k.class]
	k.past = past > 0 && past < through
	phase := turn % tryEvery
	if phase < tryFor {
		k.past = !k.past
	}
	k.counts = phase == tryFor-1 || phase >= 2*tryFor
	k.began = time.Now()
}

// end notes how long the turn took.
func (k *copier) end() {
	if k.class == 0 || !k.counts {
		return
	}
	took := float64(time.Since(k.began))
	late := &k.takes[way(k.past)][k.class]
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
	if k.past {
		simd.Stream(to, from)
		return
	}
	copy(to, from)
}
