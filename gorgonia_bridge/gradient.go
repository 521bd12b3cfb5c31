package bridge

import (
	"errors"
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A gradient is what this peer has for one parameter in the current step.
type gradient struct {
	value gorgonia.Value // where Gorgonia keeps it
	grad  array          // the elements of value

	// If that is not at home in an arena, the passes so far are added up here.
	sum    array
	passes int // that are in sum

	// Of a tensor's gradient.
	place  stretch
	bucket int
	slots  [2]*tensor.Dense // its places in the arenas, as Gorgonia has them; nil without VM
	fires  int              // how often it was seen complete in this pass
	atHome bool             // value is its place in the arena that is home
}

// local returns what this peer contributes.
func (b *Bridge) local(g *gradient) array {
	switch {
	case g.fires > 0 || g.atHome:
		return b.arenas[b.home].part(g.place)
	case g.passes > 0:
		return g.sum
	}
	return g.grad
}

// keep adds the elements of one pass to the sum.
func (g *gradient) keep(a array) {
	if g.sum.len() == 0 {
		g.sum = newArray(a.dtype(), a.len())
	}
	if g.passes == 0 {
		g.sum.copyFrom(a)
	} else {
		g.sum.add(a)
	}
	g.passes++
}

// clear zeroes the gradient where Gorgonia keeps it, as solvers do after a step.
func (g *gradient) clear() {
	g.grad.zero()
	g.grad.store(g.value)
}

// errNotRun reports a Step without a pass before it.
var errNotRun = errors.New("bridge: no parameter has a new gradient: did the machine run, and was it Reset after the last time?")

// closePass looks up what the pass just run has left. If more passes follow, it
// makes room for theirs: at home they add up by themselves, but elsewhere
// Gorgonia's machines differ, and the Lisp machine even from op to op, in whether
// the next pass adds to a gradient or replaces it.
func (b *Bridge) closePass(more bool) error {
	if err := b.checkPass(); err != nil {
		return err
	}
	for i, p := range b.params {
		v, a, err := p.grad()
		if err != nil {
			return err
		}
		g := &b.grads[i]
		g.value, g.grad = v, a
		g.atHome = g.slots[0] != nil && v == gorgonia.Value(g.slots[b.home])
		if !g.atHome && (more || g.passes > 0) {
			g.keep(a)
		}
	}
	for _, m := range b.metrics {
		if err := m.add(); err != nil {
			return err
		}
	}
	if !more {
		return nil
	}
	for i := range b.grads { // after all were read: two parameters may have one gradient
		if g := &b.grads[i]; !g.atHome {
			g.clear()
		}
	}
	b.held++
	b.endPass()
	return nil
}

// checkPass reports what makes gradients worthless.
func (b *Bridge) checkPass() error {
	if b.vmErr != nil {
		return b.vmErr
	}
	if err := b.modes.check(); err != nil {
		return err
	}
	first := -1
	for _, s := range b.places {
		g := &b.grads[s.param]
		switch {
		case g.fires == 0:
		case first < 0:
			first = s.param
		case g.fires != b.grads[first].fires:
			return fmt.Errorf("bridge: the gradient of %q was added %d times and that of %q %d times: a machine stopped in the middle of a pass; call Forget after such an error, and begin the step anew",
				b.params[first].name, b.grads[first].fires, b.params[s.param].name, g.fires)
		}
	}
	if first < 0 && b.watched() {
		return errNotRun
	}
	return nil
}

// endPass makes ready for the next pass.
func (b *Bridge) endPass() {
	for i := range b.grads {
		b.grads[i].fires = 0
	}
	for _, op := range b.syncs {
		op.ran = false
	}
	b.asked = false
	b.count()
}

// count says for each bucket how many of its gradients have not come yet.
func (b *Bridge) count() {
	b.missing = b.missing[:0]
	for _, bucket := range b.buckets {
		n := 0
		for _, s := range bucket.parts {
			if b.grads[s.param].fires == 0 {
				n++
			}
		}
		b.missing = append(b.missing, n)
	}
}

// deliver puts the means where the inner solver looks for gradients. One peer
// alone has not reduced anything: its own gradients are the means, but for the
// number of passes in them.
func (b *Bridge) deliver(alone bool) {
	w := b.flight.weights
	if alone {
		b.settleIfAway()
		b.tail.pack(b, w, false)
	}
	for _, s := range b.places {
		g := &b.grads[s.param]
		switch {
		case !alone:
		case !g.atHome:
			b.means().part(s).scaled(b.local(g), 1/w.Total)
		case w.Total != 1:
			own := b.local(g)
			own.scaled(own, 1/w.Total)
		}
	}
	b.tail.deliver(b)
	for _, s := range b.places {
		switch g := &b.grads[s.param]; {
		case !g.atHome:
			g.grad.copyFrom(b.means().part(s))
		case !alone:
			gorgonia.WithGrad(g.slots[1-b.home])(b.params[s.param].node)
		}
	}
	for i := range b.grads {
		b.grads[i].grad.store(b.grads[i].value)
	}
}

// settleIfAway takes memory for the means if there are gradients that are not at
// home.
func (b *Bridge) settleIfAway() {
	for _, s := range b.places {
		if !b.grads[s.param].atHome {
			b.settle()
			return
		}
	}
}

// forget drops what this peer has of the current step: it is committed, or does
// not count any more. What the solver has used it has zeroed; that is what became
// home.
func (b *Bridge) forget() {
	for i := range b.grads {
		g := &b.grads[i]
		switch {
		case g.slots[0] != nil && g.atHome && b.used && b.zeroes:
		case g.slots[0] != nil:
			b.arenas[b.home].part(g.place).zero()
		}
		if !g.atHome && g.value != nil {
			g.clear()
		}
		g.passes, g.atHome = 0, false
	}
	for _, m := range b.metrics {
		m.sum = 0
	}
	b.held, b.used = 0, false
	b.serial, b.twice = b.serial || b.twice, false // the loop does so in every step
	b.flight.comm, b.flight.redo = nil, false
	b.endPass()
	b.rebind()
}

// Forget drops the gradients of the passes since the last Step. It is for loops
// that go on after an error of RunAll; the machine must be Reset, too.
func (b *Bridge) Forget() {
	b.hook.Lock()
	defer b.hook.Unlock()
	redo := len(b.flight.works) > 0
	for i := range b.grads {
		g := &b.grads[i]
		if g.passes = 0; g.slots[0] != nil {
			b.arenas[b.home].part(g.place).zero()
		} else if v, a, err := b.params[i].grad(); err == nil {
			a.zero()
			a.store(v)
		}
	}
	for _, m := range b.metrics {
		m.sum = 0
	}
	b.held, b.twice = 0, false
	b.endPass()
	b.flight.redo = redo // others wait for what has been started
}
