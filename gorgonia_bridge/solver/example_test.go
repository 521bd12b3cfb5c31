package solver_test

import (
	"bytes"
	"fmt"
	"log"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringrun/ringrun/gorgonia_bridge/solver"
)

// Momentum for a batch 8 times as large as the one that the rate 0.1 was found
// for, with decay of the matrix but not of the bias.
func Example() {
	s := solver.NewMomentum(
		solver.WithSchedule(solver.LinearScaling(solver.Cosine(0.1, 0, 100), 8, 10)),
		solver.WithClipNorm(1),
		solver.WithWeightDecay(0.01),
		solver.WithExclude(solver.Vectors),
	)
	g := gorgonia.NewGraph()
	x := gorgonia.NodeFromAny(g, tensor.New(tensor.WithBacking([]float64{1, 2, 3, 4}), tensor.WithShape(2, 2)))
	w := gorgonia.NewMatrix(g, gorgonia.Float64, gorgonia.WithName("w"), gorgonia.WithShape(2, 1), gorgonia.WithInit(gorgonia.Ones()))
	b := gorgonia.NewScalar(g, gorgonia.Float64, gorgonia.WithName("b"), gorgonia.WithValue(1.0))
	out := gorgonia.Must(gorgonia.Add(gorgonia.Must(gorgonia.Mul(x, w)), b))
	loss := gorgonia.Must(gorgonia.Mean(gorgonia.Must(gorgonia.Square(out))))
	if _, err := gorgonia.Grad(loss, w, b); err != nil {
		log.Fatal(err)
	}
	vm := gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(w, b))
	defer vm.Close()
	for range 3 {
		if err := vm.RunAll(); err != nil {
			log.Fatal(err)
		}
		if err := s.Step(gorgonia.NodesToValueGrads(gorgonia.Nodes{w, b})); err != nil {
			log.Fatal(err)
		}
		vm.Reset()
	}

	var saved bytes.Buffer
	if err := s.Save(&saved); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("after %d steps the rate is %.3f, the weights %.2f, the state %d bytes\n", s.Steps(), s.Rate(), w.Value().Data(), saved.Len())
	fmt.Printf("velocity of b: %.2f\n", s.State()["b"].Values["velocity"])
	// Output:
	// after 3 steps the rate is 0.309, the weights [0.40 0.15], the state 112 bytes
	// velocity of b: [0.65]
}
