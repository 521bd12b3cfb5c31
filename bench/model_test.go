package bench

import (
	"strings"
	"testing"
	"time"
)

func TestModelsHaveTheirPublishedSizes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		params int
		gmacs  float64 // published, multiplications for one sample, forward; 0: none
	}{
		{"resnet50", 25_557_032, 4.1},
		{"resnet101", 44_549_160, 7.8},
		{"vgg16", 138_357_544, 15.5},
		{"inception3", 23_834_568, 5.7},
		{"bert", 109_482_240, 0},
		{"gpt2", 124_439_808, 0},
	} {
		m, err := LookupModel(tt.name)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Params(); got != tt.params {
			t.Errorf("%s has %d parameters, want %d", tt.name, got, tt.params)
		}
		var work float64
		for _, l := range m.Layers {
			work += l.Work
		}
		if g := work / 1e9; tt.gmacs > 0 && (g < 0.97*tt.gmacs || g > 1.03*tt.gmacs) {
			t.Errorf("%s takes %.2f G multiplications, published is %.1f", tt.name, g, tt.gmacs)
		}
	}
	if len(Models()) != 6 {
		t.Errorf("Models() = %v; the table above has 6", Models())
	}
}

func TestLookupModelNamesTheModels(t *testing.T) {
	_, err := LookupModel("resnet9")
	if err == nil || !strings.Contains(err.Error(), `"resnet9"`) || !strings.Contains(err.Error(), "vgg16") {
		t.Errorf("LookupModel(resnet9) = %v; want an error with the wrong name and the right ones", err)
	}
}

func TestScaledKeepsTheShape(t *testing.T) {
	m, _ := LookupModel("vgg16")
	s := m.Scaled(0.001)
	if got, want := s.Params(), m.Params()/1000; got < want*9/10 || got > want*11/10 {
		t.Errorf("scaled to 1/1000: %d parameters, want about %d", got, want)
	}
	if m.Params() != 138_357_544 {
		t.Errorf("scaling changed the model it came from: %d parameters", m.Params())
	}
	for i, l := range s.Layers {
		for j, x := range l.Tensors {
			if x.Len < 1 {
				t.Errorf("layer %d %s, tensor %d: %d elements", i, l.Name, j, x.Len)
			}
		}
	}
}

func TestPassesAddUp(t *testing.T) {
	for _, name := range Models() {
		m, _ := LookupModel(name)
		const total = 300 * time.Millisecond
		forward := m.forward(total)
		order, done := m.backward(total)
		if got := forward[len(forward)-1]; got < total-time.Microsecond || got > total+time.Microsecond {
			t.Errorf("%s: the forward pass ends at %v, want %v", name, got, total)
		}
		if got := done[len(done)-1]; got < total-time.Microsecond || got > total+time.Microsecond {
			t.Errorf("%s: the backward pass ends at %v, want %v", name, got, total)
		}
		if order[0] != len(m.Layers)-1 || order[len(order)-1] != 0 {
			t.Errorf("%s: backward from layer %d to %d", name, order[0], order[len(order)-1])
		}
		for i := 1; i < len(done); i++ {
			if done[i] < done[i-1] {
				t.Errorf("%s: layer %d is done at %v, the one before at %v", name, order[i], done[i], done[i-1])
			}
		}
	}
}
