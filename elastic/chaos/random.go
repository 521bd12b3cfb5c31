package chaos

import (
	"math/rand/v2"
	"slices"
	"time"
)

// A Random invents faults that a group must outlive: always there is somebody
// left who has its state. It is told who is there, and keeps in mind what it has
// done.
type Random struct {
	Rng     *rand.Rand
	Allowed []Kind        // default: all but wait
	Least   int           // peers to leave untouched; default 2
	Most    int           // peers at a time; default 6
	Pause   time.Duration // longest time between two faults; default 500 ms
	Last    time.Duration // longest time that a fault lasts; default 2 s

	stopped map[int]time.Time // until when
	cutTill time.Time
}

// recovery is how long nobody is killed after a cut: if those die who went on
// without the others, nobody has the state.
const recovery = 3 * time.Second

func (r *Random) defaults() {
	if len(r.Allowed) == 0 {
		r.Allowed = []Kind{Kill, Stop, Join, Drain, Cut, Slow}
	}
	if r.Least == 0 {
		r.Least = 2
	}
	if r.Most == 0 {
		r.Most = 6
	}
	if r.Pause == 0 {
		r.Pause = 500 * time.Millisecond
	}
	if r.Last == 0 {
		r.Last = 2 * time.Second
	}
	if r.stopped == nil {
		r.stopped = map[int]time.Time{}
	}
}

// Next invents a fault for a group of which these peers are in the view, and so
// many processes live, at a time.
func (r *Random) Next(view []int, living int, now time.Time) Fault {
	r.defaults()
	view = slices.DeleteFunc(slices.Clone(view), func(p int) bool { return now.Before(r.stopped[p]) })
	after := time.Duration(r.Rng.Int64N(int64(r.Pause)) + 1).Round(time.Millisecond)
	if !r.possible(view, living, now) || r.Rng.IntN(3) > 0 && !r.worse(view, living, now) {
		return Fault{Kind: Wait, For: max(after, 50*time.Millisecond)}
	}
	for {
		f := Fault{Kind: r.Allowed[r.Rng.IntN(len(r.Allowed))], After: after}
		if f.Kind == Slow && r.Rng.IntN(2) > 0 && r.worse(view, living, now) {
			continue
		}
		if r.choose(&f, view, living, now) {
			return f
		}
	}
}

// possible reports whether any kind of fault can be chosen.
func (r *Random) possible(view []int, living int, now time.Time) bool {
	return slices.ContainsFunc(r.Allowed, func(k Kind) bool { return r.fits(k, view, living, now) })
}

// worse reports whether there is more to choose than slowness.
func (r *Random) worse(view []int, living int, now time.Time) bool {
	return slices.ContainsFunc(r.Allowed, func(k Kind) bool { return k != Slow && r.fits(k, view, living, now) })
}

func (r *Random) fits(k Kind, view []int, living int, now time.Time) bool {
	calm := now.After(r.cutTill)
	switch k {
	case Kill, Drain, Stop:
		return calm && len(view) > r.Least
	case Join:
		return living < r.Most
	case Cut:
		return calm && len(view) > 1 && len(r.stopping(now)) == 0
	case Slow:
		return len(view) > 0
	}
	return false
}

// stopping returns the peers that are stopped.
func (r *Random) stopping(now time.Time) []int {
	var out []int
	for p, till := range r.stopped {
		if now.Before(till) {
			out = append(out, p)
		}
	}
	return out
}

func (r *Random) choose(f *Fault, view []int, living int, now time.Time) bool {
	if !r.fits(f.Kind, view, living, now) {
		return false
	}
	if len(view) > 0 {
		f.Peer = view[r.Rng.IntN(len(view))]
	}
	lasts := time.Duration(r.Rng.Int64N(int64(r.Last))+1).Round(time.Millisecond) + time.Millisecond
	switch f.Kind {
	case Join:
		f.Peer, f.Count = 0, 1
	case Stop:
		f.For = lasts
		r.stopped[f.Peer] = now.Add(f.After + lasts)
	case Slow:
		f.For, f.Delay = lasts, time.Duration(1+r.Rng.IntN(20))*time.Millisecond
	case Cut:
		f.Peer, f.For = 0, lasts
		r.Rng.Shuffle(len(view), func(i, j int) { view[i], view[j] = view[j], view[i] })
		k := 1 + r.Rng.IntN(len(view)-1)
		f.Sides = [2][]int{slices.Sorted(slices.Values(view[:k])), slices.Sorted(slices.Values(view[k:]))}
		r.cutTill = now.Add(f.After + lasts + recovery)
	}
	return true
}
