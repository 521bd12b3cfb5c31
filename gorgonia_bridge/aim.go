package bridge

import (
	"reflect"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// The tape machine lets a matrix product make a new tensor for its result, and
// adds that to the gradient: memory that is taken, zeroed, written, read and
// dropped in every pass. But where the register for the result holds a tensor
// already, the product is written there. So, when a pass begins, we put the place
// of a gradient at home into the register of the product that is this gradient.
// What the registers are Gorgonia does not export: it is read through reflection,
// and where that finds anything but what gorgonia v0.9.18 has, the machine makes
// new tensors as ever.

// aims are the products of one machine that go home.
type aims struct {
	machine   gorgonia.VM       // of which the program is not known yet, or nil
	registers *[]gorgonia.Value // of the machine; nil: none is aimed
	all       []aim
	inputs    gorgonia.Nodes // of the graphs
}

type aim struct{ register, param int }

// aimLater takes note of a machine. Of several none is aimed: they may run at
// once, and which one calls the engine cannot be seen.
func (b *Bridge) aimLater(m gorgonia.VM) {
	b.machines++
	b.aims = aims{}
	if b.machines == 1 {
		b.aims.machine = m
	}
}

// aim lets the products of a pass go home, if nothing is there. Every op of the
// machine that comes to our engine calls it, on the machine's goroutine.
func (b *Bridge) aim() {
	if b.aims.machine != nil {
		b.aims = aimsOf(b.aims.machine, b.engine, b.params)
	}
	if b.aims.registers == nil || b.stepping || b.held > 0 {
		return
	}
	registers := *b.aims.registers
	if registers[b.aims.all[0].register] != nil || b.aims.byColumns() {
		return
	}
	b.hook.Lock()
	defer b.hook.Unlock()
	for _, a := range b.aims.all {
		g := &b.grads[a.param]
		d := g.slots[b.home]
		if g.fires == 0 && d != nil && registers[a.register] == nil && b.params[a.param].gradient() == gorgonia.Value(d) {
			registers[a.register] = d
		}
	}
}

// byColumns reports whether an input has its elements in the order of columns.
// Then a product may, too, as only a tensor of its own can.
func (a aims) byColumns() bool {
	for _, n := range a.inputs {
		if d, ok := n.Value().(*tensor.Dense); ok && d.DataOrder().IsColMajor() {
			return true
		}
	}
	return false
}

// disarm gives the nodes that are gradients values of their own, before the
// memory of the arenas goes.
func (b *Bridge) disarm() {
	for _, a := range b.aims.all {
		p := b.params[a.param]
		if p.node.Deriv().Value() == nil {
			continue
		}
		if own, err := gorgonia.CloneValue(p.node.Deriv().Value()); err == nil {
			_ = gorgonia.UnsafeLet(p.node.Deriv(), own) // it has the shape of what was there
		}
	}
	b.aims = aims{}
}

// aimsOf finds the products that are gradients of params, and that no other
// instruction writes to or reads. The machine adds a gradient at home to itself, so
// it must do that with our engine, which knows.
func aimsOf(m gorgonia.VM, e *engine, params []param) (found aims) {
	defer func() { // what we expect is not there
		if recover() != nil {
			found = aims{}
		}
	}()
	machine := reflect.ValueOf(m).Elem()
	if machine.FieldByName("Engine").Interface() != any(e) {
		return aims{}
	}
	registers, ok := open(machine.FieldByName("cpumem")).Addr().Interface().(*[]gorgonia.Value)
	if !ok {
		return aims{}
	}
	uses, written := usesOf(machine.FieldByName("p").Elem().FieldByName("instructions"))
	for i, p := range params {
		d := p.node.Deriv()
		r, ok := written[d.ID()]
		if ok && isProduct(d) && uses[r] == 1 && r < len(*registers) {
			found.all = append(found.all, aim{r, i})
		}
	}
	if len(found.all) > 0 {
		found.registers = registers
		for _, g := range graphsOf(params) {
			found.inputs = append(found.inputs, g.Inputs()...)
		}
	}
	return found
}

// usesOf counts for each register the instructions that write to it or read it,
// and says to which the ops of nodes write, by the nodes' IDs.
func usesOf(instructions reflect.Value) (uses map[int]int, written map[int64]int) {
	uses, written = make(map[int]int), make(map[int64]int)
	for i := range instructions.Len() {
		in := reflect.Indirect(instructions.Index(i).Elem())
		switch in.Type().Name() {
		case "alloc", "free": // do nothing on a CPU
			continue
		case "execOp":
			written[in.FieldByName("id").Int()] = int(in.FieldByName("writeTo").FieldByName("id").Int())
		}
		for k := range in.NumField() {
			switch f := in.Field(k); {
			case f.Type().Name() == "register":
				uses[int(f.FieldByName("id").Int())]++
			case f.Kind() == reflect.Slice && f.Type().Elem().Name() == "register":
				for j := range f.Len() {
					uses[int(f.Index(j).FieldByName("id").Int())]++
				}
			}
		}
	}
	return uses, written
}

// isProduct reports whether a node is the product of two matrices.
func isProduct(n *gorgonia.Node) bool {
	if n.Op() == nil || reflect.TypeOf(n.Op()).Name() != "linAlgBinOp" {
		return false
	}
	operands := n.Graph().From(n.ID())
	for operands.Next() {
		if operands.Node().(*gorgonia.Node).Shape().Dims() != 2 {
			return false
		}
	}
	return n.Shape().Dims() == 2
}
