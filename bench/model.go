package bench

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Tensor is one parameter of a layer, and so one gradient.
type Tensor struct {
	Name string
	Len  int // elements
}

// A Layer is a step of the forward pass. Its gradients become ready together,
// when the backward pass has gone through it.
type Layer struct {
	Name    string
	Tensors []Tensor // may be none
	Work    float64  // multiplications for one sample, forward
}

// A Model is the shape of a network: what emulated training needs to know.
type Model struct {
	Name   string
	Layers []Layer // in the order of the forward pass
	// Compute is how long one forward and backward pass takes on one
	// accelerator, and Source says where the figure comes from.
	Compute time.Duration
	Source  string
}

const (
	fromTF    = "64 images on one P100, TensorFlow benchmarks"
	fromNoOne = "assumed, of the order of the others"
)

// images returns the time of a step of 64 images at a published rate.
func images(perSecond float64) time.Duration {
	return time.Duration(64 / perSecond * float64(time.Second)).Round(time.Millisecond)
}

var models = []struct {
	name    string
	layers  func() []Layer
	compute time.Duration
	source  string
}{
	{"resnet50", func() []Layer { return resnet(3, 4, 6, 3) }, images(219), fromTF},
	{"resnet101", func() []Layer { return resnet(3, 4, 23, 3) }, images(126), fromTF},
	{"vgg16", vgg16, images(154), fromTF},
	{"inception3", inception3, images(142), fromTF},
	{"bert", bert, 450 * time.Millisecond, fromNoOne},
	{"gpt2", gpt2, 450 * time.Millisecond, fromNoOne},
}

// Models returns the names that LookupModel knows.
func Models() []string {
	var names []string
	for _, m := range models {
		names = append(names, m.name)
	}
	return names
}

// LookupModel returns the model of that name.
func LookupModel(name string) (Model, error) {
	for _, m := range models {
		if m.name == name {
			return Model{Name: name, Layers: m.layers(), Compute: m.compute, Source: m.source}, nil
		}
	}
	return Model{}, fmt.Errorf("no model %q; there are %s", name, strings.Join(Models(), ", "))
}

// Params returns the number of parameters.
func (m Model) Params() int {
	sum := 0
	for _, l := range m.Layers {
		for _, t := range l.Tensors {
			sum += t.Len
		}
	}
	return sum
}

// Scaled returns the model with every tensor shrunk to the share scale of its
// length, at least one element. What is computed stays.
func (m Model) Scaled(scale float64) Model {
	m.Layers = slices.Clone(m.Layers)
	for i, l := range m.Layers {
		l.Tensors = slices.Clone(l.Tensors)
		for j, t := range l.Tensors {
			l.Tensors[j].Len = max(1, int(scale*float64(t.Len)))
		}
		m.Layers[i] = l
	}
	return m
}

// backward returns the layers' indices in the order of the backward pass and
// the time, from its start, at which each is done, when it takes total.
func (m Model) backward(total time.Duration) (order []int, done []time.Duration) {
	var all, sum float64
	for _, l := range m.Layers {
		all += l.Work
	}
	for i := len(m.Layers) - 1; i >= 0; i-- {
		sum += m.Layers[i].Work
		order = append(order, i)
		done = append(done, time.Duration(float64(total)*sum/all))
	}
	return order, done
}

// forward returns the time, from the start of the forward pass, at which each
// layer is done, when it takes total.
func (m Model) forward(total time.Duration) (done []time.Duration) {
	var all, sum float64
	for _, l := range m.Layers {
		all += l.Work
	}
	for _, l := range m.Layers {
		sum += l.Work
		done = append(done, time.Duration(float64(total)*sum/all))
	}
	return done
}
