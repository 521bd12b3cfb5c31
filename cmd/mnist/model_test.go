package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gorgonia.org/gorgonia"
)

// reference computes loss and gradients of the same model in float64, by hand.
func reference(t *testing.T, m *model, widths []int, rows int) (loss float64, grads [][]float64) {
	t.Helper()
	value := func(n *gorgonia.Node) []float64 {
		var out []float64
		for _, v := range n.Value().Data().([]float32) {
			out = append(out, float64(v))
		}
		return out
	}
	x, y := value(m.x), value(m.y)
	acts := [][]float64{x}
	last := len(widths) - 2
	for l := 0; l <= last; l++ {
		in, out := widths[l], widths[l+1]
		w, b := value(m.params[2*l]), value(m.params[2*l+1])
		z := make([]float64, rows*out)
		for r := range rows {
			for j := range out {
				z[r*out+j] = b[j]
				for i := range in {
					z[r*out+j] += acts[l][r*in+i] * w[i*out+j]
				}
				if l < last {
					z[r*out+j] = max(z[r*out+j], 0)
				}
			}
		}
		acts = append(acts, z)
	}
	logits := acts[last+1]
	delta := make([]float64, len(logits))
	for r := range rows {
		row, label := logits[r*classes:(r+1)*classes], y[r*classes:(r+1)*classes]
		top, sum, labels := row[0], 0.0, 0.0
		for _, v := range row {
			top = max(top, v)
		}
		for j, v := range row {
			sum += math.Exp(v - top)
			labels += label[j]
		}
		for j, v := range row {
			logp := v - top - math.Log(sum)
			loss -= label[j] * logp / float64(rows)
			delta[r*classes+j] = (labels*math.Exp(logp) - label[j]) / float64(rows)
		}
	}
	grads = make([][]float64, len(m.params))
	for l := last; l >= 0; l-- {
		in, out := widths[l], widths[l+1]
		w := value(m.params[2*l])
		dw, db, dx := make([]float64, in*out), make([]float64, out), make([]float64, rows*in)
		for r := range rows {
			for j := range out {
				d := delta[r*out+j]
				db[j] += d
				for i := range in {
					dw[i*out+j] += acts[l][r*in+i] * d
					if acts[l][r*in+i] > 0 {
						dx[r*in+i] += w[i*out+j] * d
					}
				}
			}
		}
		grads[2*l], grads[2*l+1], delta = dw, db, dx
	}
	return loss, grads
}

func TestGradients(t *testing.T) {
	data := generate(3, 0, 6)
	for _, hidden := range [][]int{nil, {16}, {12, 9}} {
		const rows = 8 // the last two are empty
		m, err := newModel(rows, shape{hidden: hidden}, 5, true)
		if err != nil {
			t.Fatal(err)
		}
		m.start(gorgonia.BindDualValues(m.params...))
		for _, scale := range []float32{1, 300} { // at 300 a naive softmax overflows
			for _, p := range m.params {
				for i, w := range p.Value().Data().([]float32) {
					p.Value().Data().([]float32)[i] = w * scale
				}
			}
			checkGradients(t, m, append(append([]int{imageBytes}, hidden...), classes), rows, data)
		}
	}
}

func checkGradients(t *testing.T, m *model, widths []int, rows int, data *samples) {
	t.Helper()
	data.fill(m.xs, m.ys, sequence(0, data.count()))
	defer m.vm.Reset()
	if err := m.vm.RunAll(); err != nil {
		t.Fatal(err)
	}
	loss, grads := reference(t, m, widths, rows)
	got := float64(m.loss.Data().(float32))
	if math.Abs(got-loss) > 1e-4*(1+loss) {
		t.Errorf("widths %v: loss %v, want %v", widths, got, loss)
	}
	for i, p := range m.params {
		v, err := p.Grad()
		if err != nil {
			t.Fatal(err)
		}
		for j, g := range v.Data().([]float32) {
			if want := grads[i][j]; math.IsNaN(float64(g)) || math.Abs(float64(g)-want) > 2e-4*(1+math.Abs(want)) {
				t.Fatalf("widths %v: gradient %d of %s is %v, want %v", widths, j, p.Name(), g, want)
			}
		}
		clear(v.Data().([]float32))
	}
}

func TestWeightsDependOnSeedOnly(t *testing.T) {
	weights := func(seed uint64, rows int) float32 {
		m, err := newModel(rows, shape{hidden: []int{4}}, seed, true)
		if err != nil {
			t.Fatal(err)
		}
		return m.params[0].Value().Data().([]float32)[77]
	}
	if weights(1, 2) != weights(1, 3) || weights(1, 2) == weights(2, 2) {
		t.Errorf("weight 77: %v and %v of seed 1, %v of seed 2", weights(1, 2), weights(1, 3), weights(2, 2))
	}
}

// trainAlone runs plain Adam in this process, with no peers.
func trainAlone(t *testing.T, sh shape, data *samples, batch, epochs int, lr float64) gorgonia.Nodes {
	t.Helper()
	m, err := newModel(batch, sh, 1, true)
	if err != nil {
		t.Fatal(err)
	}
	m.start(gorgonia.BindDualValues(m.params...))
	defer m.vm.Close()
	solver := gorgonia.NewAdamSolver(gorgonia.WithLearnRate(lr))
	for range epochs {
		for lo := 0; lo+batch <= data.count(); lo += batch {
			data.fill(m.xs, m.ys, sequence(lo, lo+batch))
			if err := m.vm.RunAll(); err != nil {
				t.Fatal(err)
			}
			if err := solver.Step(gorgonia.NodesToValueGrads(m.params)); err != nil {
				t.Fatal(err)
			}
			m.vm.Reset()
		}
	}
	return m.params
}

// The generated digits are of use only if they need more than a weight for each
// pixel.
func TestLinearModelIsWorse(t *testing.T) {
	digits, test := generate(1, 0, 8000), generate(1, 8000, 2000)
	got := make(map[string]float64)
	for name, sh := range map[string]shape{"linear": {}, "mlp": {hidden: []int{128}}} {
		a, err := accuracy(trainAlone(t, sh, digits, 100, 4, 0.003), sh, test)
		if err != nil {
			t.Fatal(err)
		}
		got[name] = a
	}
	t.Logf("linear %.4f, MLP %.4f", got["linear"], got["mlp"])
	if got["linear"] > 0.90 || got["mlp"] < 0.95 {
		t.Errorf("accuracy: linear %.4f, want at most 0.90; MLP %.4f, want at least 0.95", got["linear"], got["mlp"])
	}
}

// The gradient of the convolutional net is how its loss changes.
func TestConvolutionalGradients(t *testing.T) {
	const rows = 4
	data := generate(3, 0, 3)
	m, err := newModel(rows, shape{channels: []int{3, 2}, hidden: []int{9}}, 5, true)
	if err != nil {
		t.Fatal(err)
	}
	m.start(gorgonia.BindDualValues(m.params...))
	defer m.vm.Close()
	rng := rand.New(rand.NewPCG(1, 1))
	for i := 1; i < len(m.params); i += 2 { // biases: at 0 the dark pixels would sit on the edge of ReLU
		for j := range m.params[i].Value().Data().([]float32) {
			m.params[i].Value().Data().([]float32)[j] = 0.1 + 0.1*rng.Float32()
		}
	}
	loss := func() float64 {
		data.fill(m.xs, m.ys, sequence(0, data.count()))
		if err := m.vm.RunAll(); err != nil {
			t.Fatal(err)
		}
		m.vm.Reset()
		return float64(m.loss.Data().(float32))
	}
	loss()
	grads := make([][]float32, len(m.params))
	for i, p := range m.params {
		v, err := p.Grad()
		if err != nil {
			t.Fatal(err)
		}
		grads[i] = slices.Clone(v.Data().([]float32))
	}
	for i, p := range m.params {
		w := p.Value().Data().([]float32)
		for range 5 {
			j := rng.IntN(len(w))
			const h = 5e-4
			old := w[j]
			w[j] = old + h
			up := loss()
			w[j] = old - h
			down := loss()
			w[j] = old
			if got, want := float64(grads[i][j]), (up-down)/(2*h); math.Abs(got-want) > 1e-2*(0.3+math.Abs(want)) {
				t.Errorf("gradient %d of %s is %v, want %v", j, p.Name(), got, want)
			}
		}
	}
}

// Three walks through a few digits teach the convolutional net more than chance.
func TestConvolutionalNetLearns(t *testing.T) {
	sh := shape{channels: convChannels, hidden: []int{32}}
	digits, test := generate(1, 0, 1500), generate(1, 8000, 500)
	got, err := accuracy(trainAlone(t, sh, digits, 50, 3, 0.003), sh, test)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("accuracy %.4f", got)
	if got < 0.80 {
		t.Errorf("accuracy %.4f, want at least 0.80", got)
	}
}
