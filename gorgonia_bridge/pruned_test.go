package bridge

import (
	"slices"
	"strings"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A machine that leaves out what nobody looks at trains to the same bits, and
// still reads what is to be read; it does not compute the rest.
func TestPrunedTrainsTheSame(t *testing.T) {
	train := func(prune bool) (*worker, *gorgonia.Node) {
		w := alone(t, netOptions{dtype: tensor.Float64, seed: 1}, solvers["Adam"]())
		var unused *gorgonia.Node
		for _, n := range w.graph.AllNodes() {
			if n.Name() == "x" {
				building.Lock()
				unused = gorgonia.Must(gorgonia.Exp(n))
				building.Unlock()
			}
		}
		opts := []gorgonia.VMOpt{gorgonia.BindDualValues(w.params...)}
		if prune {
			o, err := Pruned(w.graph, w.params)
			if err != nil {
				t.Fatal(err)
			}
			opts = append(opts, o)
		}
		w.vm = gorgonia.NewTapeMachine(w.graph, opts...)
		defer w.vm.Close()
		w.train(t, 0, 10)
		return w, unused
	}
	whole, ran := train(false)
	pruned, left := train(true)
	if whole.bridge.ParamsHash() != pruned.bridge.ParamsHash() || whole.bridge.Metric("loss") != pruned.bridge.Metric("loss") {
		t.Errorf("loss %v and %v, weights\n%v\n%v", whole.bridge.Metric("loss"), pruned.bridge.Metric("loss"), whole.weights(t), pruned.weights(t))
	}
	if ran.Value() == nil || left.Value() != nil {
		t.Errorf("a node that nobody needs has value %v, pruned %v", ran.Value(), left.Value())
	}
	if o, err := Pruned(pruned.graph, pruned.params, left); err != nil {
		t.Error(err)
	} else {
		vm := gorgonia.NewTapeMachine(pruned.graph, o, gorgonia.BindDualValues(pruned.params...))
		defer vm.Close()
		if err := vm.RunAll(); err != nil || left.Value() == nil {
			t.Errorf("an output has value %v, error %v", left.Value(), err)
		}
	}
}

func TestPrunedComesAfterGrad(t *testing.T) {
	g := gorgonia.NewGraph()
	w := gorgonia.NodeFromAny(g, tensor.New(tensor.WithBacking(slices.Repeat([]float32{1}, 3))), gorgonia.WithName("w"))
	if _, err := Pruned(g, gorgonia.Nodes{w}); err == nil || !strings.Contains(err.Error(), `"w" has no gradient`) {
		t.Errorf("error %v", err)
	}
}
