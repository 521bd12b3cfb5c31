package bridge

import (
	"math"
	"strings"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func TestAttachRefuses(t *testing.T) {
	g := gorgonia.NewGraph()
	node := func(name string, v any) *gorgonia.Node {
		return gorgonia.NodeFromAny(g, v, gorgonia.WithName(name))
	}
	good := node("good", tensor.New(tensor.WithShape(2), tensor.Of(tensor.Float32)))
	view, err := tensor.New(tensor.WithShape(4, 4), tensor.Of(tensor.Float64)).Slice(nil, gorgonia.S(1, 3))
	if err != nil {
		t.Fatal(err)
	}
	empty := gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithShape(2, 2), gorgonia.WithName("empty"))
	twin := gorgonia.NodeFromAny(gorgonia.NewGraph(), tensor.New(tensor.WithShape(3), tensor.Of(tensor.Float32)), gorgonia.WithName("good"))
	for _, tt := range []struct {
		name   string
		params gorgonia.Nodes
		want   string
	}{
		{"none", nil, "no parameters"},
		{"nil", gorgonia.Nodes{good, nil}, "parameter 1 is nil"},
		{"equal names", gorgonia.Nodes{good, twin}, `parameters 0 and 1 are both named "good"`},
		{"integers", gorgonia.Nodes{node("ints", tensor.New(tensor.WithShape(2), tensor.Of(tensor.Int)))}, `parameter "ints" is of int; only float32 and float64`},
		{"no value", gorgonia.Nodes{good, empty}, `parameter "empty" has no value`},
		{"a view", gorgonia.Nodes{node("view", view)}, `parameter "view" is a view`},
		{"long name", gorgonia.Nodes{node(strings.Repeat("n", 2000), tensor.New(tensor.WithShape(2), tensor.Of(tensor.Float32)))}, "a name of 2000 bytes"},
	} {
		if _, err := attach(&testGroup{}, tt.params); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want it to say %q", tt.name, err, tt.want)
		}
	}
}

func TestMetricBeforeAStep(t *testing.T) {
	w := alone(t, netOptions{dtype: tensor.Float32, seed: 1}, solvers["SGD"]())
	if got := w.bridge.Metric("loss"); !math.IsNaN(got) {
		t.Errorf("loss before the first step is %v, want NaN", got)
	}
	defer func() {
		if r := recover(); r == nil {
			t.Error("no panic for a metric that does not exist")
		}
	}()
	w.bridge.Metric("los")
}

func TestAverageRefuses(t *testing.T) {
	var nothing gorgonia.Value
	var matrix gorgonia.Value = tensor.New(tensor.WithShape(2, 2), tensor.Of(tensor.Float32))
	for want, v := range map[string]*gorgonia.Value{"has no value": &nothing, "want a scalar": &matrix} {
		n := newNet(t, netOptions{dtype: tensor.Float32, kind: tapeBound, rows: shard, seed: 1})
		b, err := attach(&testGroup{}, n.params, Average("it", v))
		if err != nil {
			t.Fatal(err)
		}
		if err := n.pass(0, shard, b.Solver(solvers["SGD"]())); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want it to say %q", err, want)
		}
	}
}

func TestDigestsNameTheDifference(t *testing.T) {
	mlp := func() digest {
		return digest{
			Params:   []paramDigest{{"w0", []int{784, 128}, "float32", false}, {"b0", []int{1, 128}, "float32", false}, {"s", nil, "float32", false}},
			Averages: []string{"loss"},
			Solver:   "*gorgonia.AdamSolver",
		}
	}
	for _, tt := range []struct {
		change func(d *digest)
		want   string
	}{
		{func(d *digest) {}, ""},
		{func(d *digest) { d.Params[0].Shape = []int{784, 64} }, `bridge: parameter "w0" is (784, 128) float32 on p0 but (784, 64) float32 on p2`},
		{func(d *digest) { d.Params[0].Type = "float64" }, `bridge: parameter "w0" is (784, 128) float32 on p0 but (784, 128) float64 on p2`},
		{func(d *digest) { d.Params[0].ColMajor = true }, `but (784, 128) float32 in column order on p2`},
		{func(d *digest) { d.Params[2].Shape = []int{1} }, `bridge: parameter "s" is () float32 on p0 but (1) float32 on p2`},
		{func(d *digest) { d.Params[1].Name = "c" }, `bridge: parameter 1 is "b0" (1, 128) float32 on p0 but "c" (1, 128) float32 on p2`},
		{func(d *digest) { d.Params = d.Params[:2] }, `bridge: parameter "s" () float32 is on p0 but not on p2`},
		{func(d *digest) { d.Params = append(d.Params, paramDigest{Name: "t", Type: "float32"}) }, `bridge: parameter "t" () float32 is on p2 but not on p0`},
		{func(d *digest) { d.Averages = nil }, `bridge: averages are ["loss"] on p0 but [] on p2`},
		{func(d *digest) { d.Solver = "*gorgonia.Momentum" }, `bridge: the solver is "*gorgonia.AdamSolver" on p0 but "*gorgonia.Momentum" on p2`},
	} {
		other := mlp()
		tt.change(&other)
		err := compareDigests([]string{"p0", "p1", "p2"}, [][]byte{mlp().encode(), mlp().encode(), other.encode()})
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("error %v\nwant  %s", err, tt.want)
		}
	}
	if err := compareDigests([]string{"p0", "p1"}, [][]byte{mlp().encode(), []byte("no JSON")}); err == nil || !strings.Contains(err.Error(), "p1") {
		t.Errorf("a digest that is none: error %v, want it to name p1", err)
	}
}

// Digests come over the network: no bytes may make the comparison panic, and
// only equal ones may pass.
func FuzzDigest(f *testing.F) {
	d := digest{Params: []paramDigest{{"w", []int{2, 3}, "float32", false}}, Solver: "s"}
	f.Add(d.encode())
	f.Add([]byte(`{"Params":[{"Name":"w","Shape":[2,3],"Type":"float32"},{}]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		err := compareDigests([]string{"a", "b"}, [][]byte{d.encode(), b})
		if err == nil && compareDigests([]string{"b", "a"}, [][]byte{b, d.encode()}) != nil {
			t.Errorf("%s equals ours, but ours not it", b)
		}
	})
}
