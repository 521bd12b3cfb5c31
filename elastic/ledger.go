package elastic

import (
	"fmt"
	"slices"

	"github.com/ringrun/ringrun/ring"
)

// Samples says how the data set is walked through. All peers of a run give the
// same values.
type Samples struct {
	Count  int    // samples in the data set
	Batch  int    // samples in one step, over all peers, however many there are; see Scale
	Shard  int    // samples in one pass of one peer; default: Batch
	Epochs int    // end after so many walks through the data set; 0: no such end
	Steps  uint64 // end after so many steps; 0: no such end
	Seed   uint64 // of the random order
	Scale  bool   // a step has Batch samples for each peer: see Group.LearningRateScale; default: as Config.Batch says
}

func (s Samples) withDefaults() Samples {
	if s.Shard == 0 {
		s.Shard = s.Batch
	}
	return s
}

func (s Samples) validate() error {
	switch {
	case s.Count < 1:
		return fmt.Errorf("elastic: a data set of %d samples", s.Count)
	case s.Batch < 1:
		return fmt.Errorf("elastic: a batch of %d samples", s.Batch)
	case s.Shard < 1 || s.Shard > s.Batch:
		return fmt.Errorf("elastic: a shard of %d samples in a batch of %d", s.Shard, s.Batch)
	case s.Epochs < 0:
		return fmt.Errorf("elastic: %d epochs", s.Epochs)
	}
	return nil
}

// A ledger knows which samples the committed steps have consumed. It speaks of
// positions in the order of the epoch, not of samples, and depends on nothing
// but its history, so all peers that committed the same steps hold equal
// ledgers.
type ledger struct {
	Samples Samples
	Epoch   int   // walks through the data set that are complete
	Cursor  int   // positions from here on have not been in any step
	Back    []int // positions below Cursor that nobody finished, ascending

	peers int // for which the step in progress was dealt; only Samples.Scale asks
}

// validate checks a ledger that came from another peer.
func (l *ledger) validate() error {
	if err := l.Samples.validate(); err != nil {
		return err
	}
	if l.Epoch < 0 || l.Cursor < 0 || l.Cursor > l.Samples.Count {
		return fmt.Errorf("elastic: a ledger at epoch %d, position %d of %d", l.Epoch, l.Cursor, l.Samples.Count)
	}
	last := -1
	for _, p := range l.Back {
		if p <= last || p >= l.Cursor {
			return fmt.Errorf("elastic: a ledger that returns position %d after %d, before %d", p, last, l.Cursor)
		}
		last = p
	}
	return nil
}

// size returns how many samples the step in progress has, if as many are left.
func (l *ledger) size() int {
	if l.Samples.Scale {
		return l.Samples.Batch * max(l.peers, 1)
	}
	return l.Samples.Batch
}

// batch returns the positions of the next step: first what earlier steps left
// over, then new ones. The last batch of an epoch is shorter; nothing is padded.
func (l *ledger) batch() []int {
	n := min(l.size(), len(l.Back)+l.Samples.Count-l.Cursor)
	b := slices.Clone(l.Back[:min(n, len(l.Back))])
	for p := l.Cursor; len(b) < n; p++ {
		b = append(b, p)
	}
	return b
}

// commit records that the next step is done and has consumed some of its batch.
// The rest is the first that the step after it gets.
func (l *ledger) commit(consumed []int) {
	done := make(map[int]bool, len(consumed))
	for _, p := range consumed {
		done[p] = true
	}
	batch := l.batch()
	fresh := 0
	var left []int
	for _, p := range batch {
		if p >= l.Cursor {
			fresh++
		}
		if !done[p] {
			left = append(left, p)
		}
	}
	old := len(batch) - fresh
	l.Cursor += fresh
	l.Back = append(left, l.Back[old:]...)
	slices.Sort(l.Back)
	if len(l.Back) == 0 && l.Cursor == l.Samples.Count {
		l.Epoch, l.Cursor, l.Back = l.Epoch+1, 0, nil
	}
}

// done reports whether the run ends here.
func (l *ledger) done(steps uint64) bool {
	return l.Samples.Epochs > 0 && l.Epoch >= l.Samples.Epochs ||
		l.Samples.Steps > 0 && steps >= l.Samples.Steps
}

// assign deals positions to peers in whole shards, as evenly as that allows,
// and returns what each of them gets.
func assign(positions []int, shard, peers int) [][]int {
	out := make([][]int, peers)
	shards := (len(positions) + shard - 1) / shard
	for i := range out {
		lo, hi := ring.Chunk(shards, peers, i)
		out[i] = positions[min(lo*shard, len(positions)):min(hi*shard, len(positions))]
	}
	return out
}

// without returns the positions of batch that are in none of the hands.
func without(batch []int, hands [][]int) []int {
	held := make(map[int]bool)
	for _, hand := range hands {
		for _, p := range hand {
			held[p] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(batch), func(p int) bool { return held[p] })
}
