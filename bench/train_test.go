package bench

import (
	"context"
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

// Communication must be under way while the backward pass still sleeps. Of vgg16
// nearly all gradients are in the dense layers, which come first.
func TestTrainingOverlaps(t *testing.T) {
	tr := Training{Model: "vgg16", Compute: 150 * time.Millisecond, Scale: 0.01, BucketBytes: 64 << 10, Steps: 5, Rounds: 1}
	if r := trainOn(t, 2, tr, sound); r.ExposedMS > 0.5*r.CommMS {
		t.Errorf("of %v ms of communication, %v are exposed", r.CommMS, r.ExposedMS)
	}
	all := trainOn(t, 2, Training{Model: "vgg16", Compute: 150 * time.Millisecond, Scale: 0.01,
		FirstBytes: 1 << 30, BucketBytes: 1 << 30, Steps: 3, Rounds: 1}, sound)
	if all.Buckets != 1 || all.ExposedMS < 0.9*all.CommMS {
		t.Errorf("in one bucket nothing can overlap, but of %v ms %v are exposed (%d buckets)", all.CommMS, all.ExposedMS, all.Buckets)
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
