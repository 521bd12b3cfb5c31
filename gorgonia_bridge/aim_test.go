package bridge

import (
	"fmt"
	"slices"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringrun/ringrun/gorgonia_bridge/blas"
)

// aimed returns the names of the parameters of which the gradient was computed
// where it belongs.
func aimed(w *worker) []string {
	var names []string
	for i, p := range w.params {
		if d := w.bridge.grads[i].slots[w.bridge.home]; d != nil && p.Deriv().Value() == gorgonia.Value(d) {
			names = append(names, p.Name())
		}
	}
	return names
}

// The products that are gradients are written to the arenas at once, in every
// step; whatever else the machine computes is not.
func TestProductsGoHome(t *testing.T) {
	for _, dtype := range []tensor.Dtype{tensor.Float32, tensor.Float64} {
		ws := pair(t, netOptions{dtype: dtype})
		onBoth(t, ws, func(i int, w *worker) error {
			for step := range 4 {
				w.fill(6*step+3*i, 6*step+3*i+3)
				if err := w.vm.RunAll(); err != nil {
					return err
				}
				if got := aimed(w); !slices.Equal(got, []string{"w0", "w1"}) {
					return fmt.Errorf("step %d: %v were computed at home, want w0 and w1", step, got)
				}
				if err := w.solver.Step(gorgonia.NodesToValueGrads(w.params)); err != nil {
					return err
				}
				w.vm.Reset()
			}
			return nil
		})
		equalEnds(t, ws)
	}
}

// Aimed or not, passes that add up and passes that are forgotten come to the same
// bits.
func TestAimChangesNoBit(t *testing.T) {
	var hashes []string
	for _, aims := range []bool{true, false} {
		ws := pair(t, netOptions{dtype: tensor.Float32})
		onBoth(t, ws, func(i int, w *worker) error {
			if !aims {
				w.bridge.aims.machine = nil
			}
			for step := range 6 {
				if step == 2 { // a pass that does not count
					w.fill(0, 3)
					if err := w.vm.RunAll(); err != nil {
						return err
					}
					w.bridge.Forget()
					w.vm.Reset()
				}
				if step%2 == 1 {
					w.fill(20, 23)
					if err := w.bridge.NoSync(w.vm.RunAll); err != nil {
						return err
					}
					w.vm.Reset()
				}
				if err := w.pass(6*step+3*i, 6*step+3*i+3, w.solver); err != nil {
					return err
				}
				if got := w.bridge.aims.registers != nil; got != aims {
					return fmt.Errorf("aims: %t, want %t", got, aims)
				}
			}
			return nil
		})
		equalEnds(t, ws)
		hashes = append(hashes, ws[0].bridge.ParamsHash())
	}
	if hashes[0] != hashes[1] {
		t.Error("the weights differ")
	}
}

// A gradient that the graph goes on to use stays where Gorgonia puts it: another
// op might write over it. Of two machines none is aimed.
func TestWhatIsNotAimed(t *testing.T) {
	used := pair(t, netOptions{dtype: tensor.Float32})[0]
	gorgonia.Must(gorgonia.Square(used.params[0].Deriv()))
	used.bridge.machines = 0
	used.machine(t, used.bridge)
	if a := aimsOf(used.vm, used.bridge.engine, used.bridge.params); len(a.all) != 1 || used.params[a.all[0].param].Name() != "w1" {
		t.Errorf("aimed at %+v, want w1 alone", a.all)
	}
	used.machine(t, used.bridge)
	used.bridge.aim()
	if used.bridge.aims.registers != nil {
		t.Error("one of two machines is aimed")
	}
	lispish := &struct{ gorgonia.VM }{used.vm}
	if a := aimsOf(lispish, used.bridge.engine, used.bridge.params); a.registers != nil {
		t.Errorf("found %+v in a machine of another kind", a)
	}
	other := pair(t, netOptions{dtype: tensor.Float32})[0]
	building.Lock()
	vm := gorgonia.NewTapeMachine(other.graph, other.bridge.VM(), gorgonia.WithEngine(blas.Engine{}))
	building.Unlock()
	defer vm.Close()
	if a := aimsOf(vm, other.bridge.engine, other.bridge.params); a.registers != nil {
		t.Errorf("found %+v in a machine with another engine", a)
	}
}

// A product of operands by columns is by columns itself, and so needs a tensor of
// its own.
func TestColumnsAreNotAimed(t *testing.T) {
	w := pair(t, netOptions{dtype: tensor.Float32})[0]
	w.bridge.aim()
	if w.bridge.aims.byColumns() || w.bridge.aims.registers == nil {
		t.Fatal("nothing is to be aimed")
	}
	clear(*w.bridge.aims.registers)
	x := tensor.New(tensor.WithShape(shard, inputs), tensor.AsFortran(make([]float32, shard*inputs)))
	if err := gorgonia.Let(w.graph.ByName("x")[0], x); err != nil {
		t.Fatal(err)
	}
	w.bridge.aim()
	if (*w.bridge.aims.registers)[w.bridge.aims.all[0].register] != nil {
		t.Error("a product of columns is aimed")
	}
}

// Who looks at the node of a gradient after Close finds a value.
func TestCloseLeavesGradientNodes(t *testing.T) {
	w := pair(t, netOptions{dtype: tensor.Float32})[0]
	w.fill(0, 3)
	if err := w.bridge.NoSync(w.vm.RunAll); err != nil {
		t.Fatal(err)
	}
	if len(aimed(w)) == 0 {
		t.Fatal("nothing is aimed")
	}
	before := gradientsOf(w)
	w.bridge.Close()
	if got := w.params[0].Deriv().Value().Data().([]float32)[0]; float64(got) != before[0] {
		t.Errorf("the gradient of w0 begins with %v, want %v", got, before[0])
	}
	if len(aimed(w)) != 0 {
		t.Error("a node still has the memory of an arena")
	}
}
