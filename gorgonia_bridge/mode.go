package bridge

import (
	"fmt"
	"reflect"
	"slices"

	"gorgonia.org/gorgonia"
)

// modes are the flags of a graph's ops that act differently when the graph is
// not trained, such as dropout and batch norm. Gorgonia keeps them in the ops,
// which all machines on a graph share.
type modes []mode

type mode struct {
	op       string
	training reflect.Value
}

// modesOf finds those of the parameters' graphs.
func modesOf(params []param) modes {
	var all modes
	for _, g := range graphsOf(params) {
		for _, n := range g.AllNodes() {
			if op, ok := n.Op().(gorgonia.TrainModeOp); ok {
				all = all.with(op)
			}
		}
	}
	return all
}

func (m modes) with(op gorgonia.TrainModeOp) modes {
	v := reflect.Indirect(reflect.ValueOf(op))
	if v.Kind() != reflect.Struct {
		return m
	}
	for _, name := range []string{"training", "isTraining"} {
		if f := v.FieldByName(name); f.IsValid() && f.Kind() == reflect.Bool {
			return append(m, mode{fmt.Sprintf("%T", op), f})
		}
	}
	return m
}

// check reports an op that is not training, because another machine was made on
// the graph to evaluate it.
func (m modes) check() error {
	for _, mode := range m {
		if !mode.training.Bool() {
			return fmt.Errorf("bridge: %s is not training any more: a machine with gorgonia.EvalMode was made on the same graph, and they share their ops; build another graph to evaluate", mode.op)
		}
	}
	return nil
}

// graphsOf returns the graphs of the parameters, each once.
func graphsOf(params []param) []*gorgonia.ExprGraph {
	var all []*gorgonia.ExprGraph
	for _, p := range params {
		if g := p.node.Graph(); !slices.Contains(all, g) {
			all = append(all, g)
		}
	}
	return all
}
