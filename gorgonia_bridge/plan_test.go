package bridge

import (
	"fmt"
	"testing"

	"gorgonia.org/tensor"
)

func TestPlanCuts(t *testing.T) {
	f32, f64 := tensor.Float32, tensor.Float64
	for _, tt := range []struct {
		plan   plan
		dtypes []tensor.Dtype
		lens   []int
		want   string
	}{
		{plan{40, 100}, []tensor.Dtype{f32, f32, f32, f32}, []int{3, 12, 20, 4}, "[0 1] [2 3]"}, // 60 bytes, 96
		{plan{4, 100}, []tensor.Dtype{f32, f32, f32, f32}, []int{3, 12, 20, 4}, "[0] [1 2] [3]"},
		{plan{1, 1}, []tensor.Dtype{f32, f32}, []int{1, 1000}, "[0] [1]"},
		{plan{1 << 20, 1 << 20}, []tensor.Dtype{f32, f64, f64, f32}, []int{1, 2, 3, 4}, "[0] [1 2] [3]"},
		{plan{1, 1}, nil, nil, ""},
	} {
		params, order := make([]param, len(tt.lens)), make([]int, len(tt.lens))
		for i := range params {
			params[i], order[i] = param{dtype: tt.dtypes[i], len: tt.lens[i]}, i
		}
		places, size := layOut(params, order)
		got, end := "", 0
		for _, b := range tt.plan.cut(places) {
			var in []int
			for _, s := range b.parts {
				in = append(in, s.param)
			}
			off, n := b.span()
			if off < end || off%alignment != 0 {
				t.Errorf("%v of %v: bucket %v begins at %d, the one before ends at %d", tt.plan, tt.lens, in, off, end)
			}
			end = off + n*int(b.dtype.Size())
			got += fmt.Sprint(" ", in)
		}
		if got != "" {
			got = got[1:]
		}
		if got != tt.want || end > size {
			t.Errorf("%v of %v: buckets %s to %d, want %s within %d", tt.plan, tt.lens, got, end, tt.want, size)
		}
	}
}

func TestPlanFor(t *testing.T) {
	for _, tt := range []struct {
		short, long float64
		bytes       int
		want        plan
	}{
		{1e-3, 2e-3, 100e3, plan{112500, 900000}},                        // 1 ms and 100 MB/s
		{1e-3, 1e-3, 100e3, plan{mostBucket / firstShare, mostBucket}},   // bytes cost nothing
		{1e-3, 0.5e-3, 100e3, plan{mostBucket / firstShare, mostBucket}}, // noise
		{1e-6, 1, 1000, plan{leastBucket / firstShare, leastBucket}},     // nothing but bytes
		{1, 1.0001, 256 << 10, plan{mostBucket / firstShare, mostBucket}},
	} {
		got := planFor(tt.short, tt.long, tt.bytes)
		if d := got.others - tt.want.others; d < -1 || d > 1 || got.first != got.others/firstShare {
			t.Errorf("planFor(%v, %v, %d) = %v, want %v", tt.short, tt.long, tt.bytes, got, tt.want)
		}
	}
}
