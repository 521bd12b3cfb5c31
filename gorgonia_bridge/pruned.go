package bridge

import (
	"fmt"

	"gorgonia.org/gorgonia"
)

// Pruned is an option for gorgonia.NewTapeMachine that computes the gradients of
// params, what gorgonia.Read asks for and the outputs, and leaves out the rest.
// A machine without it computes all that Grad has put into the graph, also the
// gradient of the first layer's input, which nobody looks at: about a tenth of a
// perceptron's step. Reads are to be made before.
func Pruned(g *gorgonia.ExprGraph, params gorgonia.Nodes, outputs ...*gorgonia.Node) (gorgonia.VMOpt, error) {
	var wanted gorgonia.Nodes
	for _, p := range params {
		d := p.Deriv()
		if d == nil {
			return nil, fmt.Errorf("bridge: parameter %q has no gradient: Pruned comes after gorgonia.Grad", p.Name())
		}
		wanted = append(wanted, d)
	}
	wanted = append(wanted, outputs...)
	for _, n := range g.AllNodes() {
		if isRead(n) {
			wanted = append(wanted, n)
		}
	}
	inputs := g.ExactSubgraphRoots(wanted...).Inputs()
	program, registers, err := gorgonia.CompileFunction(g, inputs, wanted)
	if err != nil {
		return nil, fmt.Errorf("bridge: compile the graph: %w", err)
	}
	return gorgonia.WithPrecompiled(program, registers), nil
}

// isRead reports whether a node is that of gorgonia.Read, which has no exported
// type.
func isRead(n *gorgonia.Node) bool {
	return n.Op() != nil && fmt.Sprintf("%T", n.Op()) == "gorgonia.readOp"
}
