package allreduce_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ringrun/ringrun/allreduce"
)

func TestPlan(t *testing.T) {
	const f, d = allreduce.Float32, allreduce.Float64
	spec := func(t allreduce.Type, n int) allreduce.Spec { return allreduce.Spec{Type: t, Len: n} }
	for _, tt := range []struct {
		name          string
		specs         []allreduce.Spec
		first, others int
		want          [][]int
	}{
		{"none", nil, 100, 100, nil},
		{"one", []allreduce.Spec{spec(f, 10)}, 100, 100, [][]int{{0}}},
		{"exactly full", []allreduce.Spec{spec(f, 10), spec(f, 15), spec(f, 1)}, 100, 100, [][]int{{0, 1}, {2}}},
		{"small first", []allreduce.Spec{spec(f, 5), spec(f, 5), spec(f, 5), spec(f, 5)}, 20, 60, [][]int{{0}, {1, 2, 3}}},
		{"large ones alone", []allreduce.Spec{spec(f, 50), spec(f, 1), spec(f, 50), spec(f, 1)}, 20, 100, [][]int{{0}, {1}, {2}, {3}}},
		{"types apart", []allreduce.Spec{spec(f, 1), spec(d, 1), spec(d, 1), spec(f, 1)}, 100, 100, [][]int{{0}, {1, 2}, {3}}},
		{"empty tensors", []allreduce.Spec{spec(f, 0), spec(f, 25), spec(f, 0)}, 100, 100, [][]int{{0, 1, 2}}},
		{"no limit", []allreduce.Spec{spec(f, 1), spec(f, 1)}, 0, 0, [][]int{{0}, {1}}},
	} {
		for i := range tt.specs {
			tt.specs[i].Name = fmt.Sprint("w", i)
		}
		p, err := allreduce.NewPlan(tt.specs, tt.first, tt.others)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		var got [][]int
		for _, b := range p.Buckets() {
			got = append(got, b.Specs())
			n := 0
			for _, i := range b.Specs() {
				n += tt.specs[i].Len
			}
			if v := b.Vector(); v.Len() != n || v.Type() != tt.specs[b.Specs()[0]].Type {
				t.Errorf("%s: a bucket of %d %v, want %d", tt.name, v.Len(), v.Type(), n)
			}
		}
		if !slices.EqualFunc(got, tt.want, slices.Equal) {
			t.Errorf("%s: buckets %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestPlanErrors(t *testing.T) {
	for _, tt := range []struct {
		specs []allreduce.Spec
		says  string
	}{
		{[]allreduce.Spec{{"w", allreduce.Float32, 1}, {"b", allreduce.Float32, 1}, {"w", allreduce.Float32, 2}}, `tensors 0 and 2 have the same name "w"`},
		{[]allreduce.Spec{{"w", 99, 1}}, `"w" of type 99`},
		{[]allreduce.Spec{{"w", allreduce.Int32, -1}}, `"w" has -1 elements`},
	} {
		if _, err := allreduce.NewPlan(tt.specs, 1, 1); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("NewPlan(%v): %v, want %q", tt.specs, err, tt.says)
		}
	}
}

// TestPlanHash changes whenever anything in the plan does, and only then. The
// first value is pinned: peers of several builds compare it.
func TestPlanHash(t *testing.T) {
	specs := func() []allreduce.Spec {
		return []allreduce.Spec{{"w", allreduce.Float32, 10}, {"b", allreduce.Float32, 5}, {"c", allreduce.Float64, 5}}
	}
	seen := map[uint64]string{}
	for name, change := range map[string]func(s []allreduce.Spec) int{
		"nothing": func(s []allreduce.Spec) int { return 1000 },
		"name":    func(s []allreduce.Spec) int { s[1].Name = "bb"; return 1000 },
		"length":  func(s []allreduce.Spec) int { s[1].Len++; return 1000 },
		"type":    func(s []allreduce.Spec) int { s[2].Type = allreduce.Int64; return 1000 },
		"order":   func(s []allreduce.Spec) int { s[0], s[1] = s[1], s[0]; return 1000 },
		"buckets": func(s []allreduce.Spec) int { return 1 },
	} {
		hash := func() uint64 {
			s := specs()
			limit := change(s)
			p, err := allreduce.NewPlan(s, limit, limit)
			if err != nil {
				t.Fatal(err)
			}
			return p.Hash()
		}
		h := hash()
		if again := hash(); again != h {
			t.Errorf("%s: two hashes, %#x and %#x", name, h, again)
		}
		if other, ok := seen[h]; ok {
			t.Errorf("%s and %s have the same hash", name, other)
		}
		seen[h] = name
	}
	const want = 0x2eaab87a75ae0ec5
	if seen[want] != "nothing" {
		t.Errorf("the hash of the plan is not %#x: %#x", uint64(want), seen)
	}
}

// TestBucket packs tensors, changes the bucket and unpacks.
func TestBucket(t *testing.T) {
	p, err := allreduce.NewPlan([]allreduce.Spec{{"a", allreduce.Int32, 2}, {"b", allreduce.Int32, 0}, {"c", allreduce.Int32, 3}}, 100, 100)
	if err != nil {
		t.Fatal(err)
	}
	tensors := [][]int32{{1, 2}, {}, {3, 4, 5}}
	at := func(i int) allreduce.Vector { return allreduce.Of(tensors[i]) }
	b := p.Buckets()[0]
	b.Pack(at)
	v := allreduce.Elements[int32](b.Vector())
	if !slices.Equal(v, []int32{1, 2, 3, 4, 5}) {
		t.Errorf("packed: %v", v)
	}
	for i := range v {
		v[i] *= 10
	}
	b.Unpack(at)
	if !slices.Equal(tensors[0], []int32{10, 20}) || !slices.Equal(tensors[2], []int32{30, 40, 50}) {
		t.Errorf("unpacked: %v", tensors)
	}
	tensors[2] = tensors[2][:2]
	if !panics(func() { b.Pack(at) }) {
		t.Error("a tensor that is too short is packed")
	}
}

func panics(f func()) (yes bool) {
	defer func() { yes = recover() != nil }()
	f()
	return
}

func TestVector(t *testing.T) {
	x := []float64{1, 2, 3, 4}
	v := allreduce.Of(x)
	allreduce.Elements[float64](v.Slice(1, 3))[0] = 20
	if v.Len() != 4 || v.Type() != allreduce.Float64 || len(v.Bytes()) != 32 || x[1] != 20 || v.Slice(4, 4).Len() != 0 {
		t.Errorf("%d %v in %d bytes, %v", v.Len(), v.Type(), len(v.Bytes()), x)
	}
	if v := allreduce.Of([]int32(nil)); v.Len() != 0 || v.Bytes() != nil || v.Slice(0, 0).Len() != 0 {
		t.Errorf("nil has %d elements", v.Len())
	}
	for name, f := range map[string]func(){
		"slice beyond the end": func() { v.Slice(2, 5) },
		"slice backward":       func() { v.Slice(3, 2) },
		"wrong type":           func() { allreduce.Elements[float32](v) },
	} {
		if !panics(f) {
			t.Errorf("%s: no panic", name)
		}
	}
}
