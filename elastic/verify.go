package elastic

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
	"go.uber.org/zap"
)

// A Sum is the hash of a part of what all peers hold alike.
type Sum struct {
	Part string // its name, as a message shall give it
	Hash uint64
}

// A Check gives hashes of what all peers must hold alike; the order of the parts
// is the same on all peers. Both functions are called by Commit, in the goroutine
// that trains.
type Check struct {
	// Reduced is called between reduce and apply, for what reduce has left.
	Reduced func() []Sum
	// State is called after apply, every Config.VerifyEvery steps, for what apply
	// has changed. Default: the whole State, as it is saved.
	State func() []Sum
}

// SetCheck lets the peers compare what they hold after each step. The hashes ride
// in the notes that follow a step anyway. Peers that differ are named, and what
// then happens Config.OnDivergence says. It is called before the first Shards or
// Commit; without it only the State is compared.
func (g *Group) SetCheck(c Check) { g.verifier.check = c }

// A verifier keeps the hashes of the last steps, until the notes that tell of them
// have been compared.
type verifier struct {
	check Check
	every uint64 // steps from one look at the state to the next; 0: never

	chain     uint64 // over what was reduced since the last note
	stateStep uint64 // the last step since then after which the state was looked at
	state     uint64
	trail     []footprint
}

// A footprint is what one step has left: by it a difference is found again.
type footprint struct {
	Step    uint64   // committed with it
	Reduced []uint64 `json:",omitempty"`
	State   []uint64 `json:",omitempty"`

	reducedParts, stateParts []string
}

// maxTrail bounds the steps that are remembered: those between two notes, and those
// before these were compared.
const maxTrail = 2*maxGap + 2

// reduced looks at what a step, the one that will be committed as step, has
// reduced.
func (v *verifier) reduced(step uint64) {
	if v.check.Reduced == nil || v.every == 0 {
		return
	}
	f := v.at(step)
	f.Reduced, f.reducedParts = split(v.check.Reduced())
	v.chain = fold(v.chain, f.Reduced)
}

// applied looks at the state after a step, if it is time to.
func (v *verifier) applied(g *Group) error {
	if v.every == 0 || g.steps%v.every != 0 {
		return nil
	}
	return v.look(g)
}

// look looks at the state as it is now.
func (v *verifier) look(g *Group) error {
	if v.every == 0 || v.stateStep == g.steps {
		return nil
	}
	f := v.at(g.steps)
	if v.check.State != nil {
		f.State, f.stateParts = split(v.check.State())
	} else {
		sum := xxhash.New()
		if err := g.save(sum); err != nil {
			return err
		}
		f.State, f.stateParts = []uint64{sum.Sum64()}, []string{"state"}
	}
	v.stateStep, v.state = g.steps, fold(0, f.State)
	return nil
}

func (v *verifier) at(step uint64) *footprint {
	if n := len(v.trail); n == 0 || v.trail[n-1].Step != step {
		if n == maxTrail {
			v.trail = append(v.trail[:0], v.trail[1:]...)
		}
		v.trail = append(v.trail, footprint{Step: step})
	}
	return &v.trail[len(v.trail)-1]
}

// put tells in a note what was seen since the last one.
func (v *verifier) put(n *note) {
	n.Reduced, n.StateStep, n.State = v.chain, v.stateStep, v.state
	v.chain, v.stateStep, v.state = 0, 0, 0
}

// agreed forgets the steps up to one after which all peers held the same.
func (v *verifier) agreed(step uint64) {
	i := 0
	for i < len(v.trail) && v.trail[i].Step <= step {
		i++
	}
	v.trail = append(v.trail[:0], v.trail[i:]...)
}

// reset forgets everything: the peers have just become equal.
func (v *verifier) reset() {
	v.chain, v.stateStep, v.state, v.trail = 0, 0, 0, v.trail[:0]
}

func split(sums []Sum) (hashes []uint64, parts []string) {
	hashes, parts = make([]uint64, len(sums)), make([]string, len(sums))
	for i, s := range sums {
		hashes[i], parts[i] = s.Hash, s.Part
	}
	return hashes, parts
}

func fold(h uint64, hashes []uint64) uint64 {
	var b [16]byte
	for _, x := range hashes {
		binary.LittleEndian.PutUint64(b[:], h)
		binary.LittleEndian.PutUint64(b[8:], x)
		h = xxhash.Sum64(b[:])
	}
	return h
}

// compareNotes reports whether the peers were found to differ. Then they share
// their state anew before the next step, and see who does.
func (g *Group) compareNotes(gen *generation, all notes) bool {
	if !all.differ() {
		g.verifier.agreed(all[gen.rank].Steps)
		return false
	}
	g.say(gen, "peers differ", zap.Uint64("epoch", gen.view.Epoch), zap.Uint64("steps", g.steps))
	gen.shared = false
	return true
}
