package bench

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/ringrun/ringrun/allreduce"
)

func trainOn(t *testing.T, size int, tr Training, wrap func(*allreduce.Comm) Comm) (result StepResult) {
	t.Helper()
	onRing(t, size, "raw", func(ctx context.Context, c *allreduce.Comm) error {
		return tr.Run(ctx, wrap(c), func(r Result) { result = *r.Step }, func(string) {})
	})
	return result
}

func TestTrainingOfEveryModel(t *testing.T) {
	for _, name := range Models() {
		tr := Training{Model: name, Compute: 30 * time.Millisecond, Scale: 0.001, BucketBytes: 16 << 10, FirstBytes: 1 << 10, Steps: 2, Rounds: 2}
		r := trainOn(t, 2, tr, sound)
		if r.Model != name || r.Size != 2 || r.Errors != 0 || !r.OK {
			t.Errorf("%s: %+v", name, r)
		}
		if r.StepMS < 30 || r.StepLow > r.StepMS || r.StepHigh < r.StepMS {
			t.Errorf("%s: steps of %v ms (%v to %v), with 30 ms of compute", name, r.StepMS, r.StepLow, r.StepHigh)
		}
		if r.Efficiency != 30/r.StepMS || r.BaseFrom != "computed" {
			t.Errorf("%s: efficiency %v of %s", name, r.Efficiency, r.BaseFrom)
		}
		if r.Buckets < 2 || r.CommMS <= 0 || r.ExposedMS < 0 || r.BusGBps <= 0 {
			t.Errorf("%s: %d buckets, %v ms of communication, %v exposed, %v GB/s", name, r.Buckets, r.CommMS, r.ExposedMS, r.BusGBps)
		}
		if m, _ := LookupModel(name); r.Params != m.Scaled(0.001).Params() || r.Bytes != 4*r.Params {
			t.Errorf("%s: %d parameters in %d bytes", name, r.Params, r.Bytes)
		}
	}
}

// Every bucket leaves as soon as the backward pass has been through the layers
// in it, and no sooner: in order, each once, spread over the pass.
func TestBucketsLeaveDuringTheBackwardPass(t *testing.T) {
	for _, name := range Models() {
		m, _ := LookupModel(name)
		w := &training{Training: Training{Model: name, Compute: 300 * time.Millisecond, FirstBytes: 8 << 10, BucketBytes: 64 << 10}}
		if err := w.build(m.Scaled(0.01)); err != nil {
			t.Fatal(err)
		}
		var left []*allreduce.Bucket
		elements, ready := 0, 0
		order, _ := m.backward(time.Second)
		for i, buckets := range w.launch {
			for _, x := range m.Scaled(0.01).Layers[order[i]].Tensors {
				ready += x.Len
			}
			for _, b := range buckets {
				left = append(left, b)
				elements += b.Vector().Len()
			}
			if elements > ready {
				t.Errorf("%s: %d elements left after layer %d, when only %d were ready", name, elements, order[i], ready)
			}
		}
		if !slices.Equal(left, w.plan.Buckets()) {
			t.Errorf("%s: %d buckets left, not in the order of the %d planned", name, len(left), len(w.plan.Buckets()))
		}
		first := slices.IndexFunc(w.launch, func(b []*allreduce.Bucket) bool { return len(b) > 0 })
		if at, total := w.backward[first], w.backward[len(w.backward)-1]; at > total/2 {
			t.Errorf("%s: the first of %d buckets leaves %v into a pass of %v", name, len(left), at, total)
		}
	}
}

func TestExposedIsWhatEndsAfterTheBackwardPass(t *testing.T) {
	w := &training{}
	w.account([]*flight{{span: span{10, 30}}, {span: span{20, 40}}, {span: span{60, 95}}}, 70)
	w.account([]*flight{{span: span{10, 30}}}, 70)
	w.account(nil, 70)
	if want := []time.Duration{65, 20, 0}; !slices.Equal(w.comm, want) {
		t.Errorf("communication of %v, want %v", w.comm, want)
	}
	if want := []time.Duration{25, 0, 0}; !slices.Equal(w.exposed, want) {
		t.Errorf("exposed %v, want %v", w.exposed, want)
	}
}

func TestTrainingCountsWrongElements(t *testing.T) {
	tr := Training{Model: "resnet50", Compute: time.Millisecond, Scale: 0.0001, BucketBytes: 1 << 30, FirstBytes: 1 << 30, Steps: 1, Rounds: 1}
	r := trainOn(t, 2, tr, func(c *allreduce.Comm) Comm {
		if c.Rank() == 1 {
			return faulty{c, 100}
		}
		return c
	})
	if r.Errors != 1 || r.OK {
		t.Errorf("%d errors, want 1", r.Errors)
	}
}

func TestEfficiencyAgainstOnePeer(t *testing.T) {
	r := StepResult{ComputeMS: 100, StepMS: 125}
	if got := r.WithBase(nil); got.Efficiency != 0.8 || got.BaseFrom != "computed" {
		t.Errorf("%+v", got)
	}
	if got := r.WithBase(&StepResult{StepMS: 110}); got.Efficiency != 0.88 || got.BaseFrom != "measured" {
		t.Errorf("%+v", got)
	}
}
