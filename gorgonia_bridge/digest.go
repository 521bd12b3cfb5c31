package bridge

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A digest is what must be equal on all peers before they can train together.
type digest struct {
	Params   []paramDigest
	Averages []string
	Solver   string
	Order    []string `json:",omitempty"` // of the gradients, as they become ready
	Bucket   [2]int   // bytes, where the user has fixed them
	Synced   int      `json:",omitempty"` // nodes of SyncBatchNorm
}

type paramDigest struct {
	Name     string
	Shape    []int
	Type     string
	ColMajor bool `json:",omitempty"`
}

// String returns the shape as Go programmers read it, the type, and the memory
// order if it is the unusual one: "(784, 128) float32".
func (p paramDigest) String() string {
	dims := make([]string, len(p.Shape))
	for i, d := range p.Shape {
		dims[i] = fmt.Sprint(d)
	}
	s := "(" + strings.Join(dims, ", ") + ") " + p.Type
	if p.ColMajor {
		s += " in column order"
	}
	return s
}

func (b *Bridge) digest() digest {
	d := digest{Solver: b.solverName()}
	for _, p := range b.all() {
		d.Params = append(d.Params, paramDigest{p.name, slices.Clone([]int(p.shape)), p.dtype.Name(), p.colMajor})
	}
	for _, m := range b.metrics {
		d.Averages = append(d.Averages, m.name)
	}
	for _, s := range b.places {
		d.Order = append(d.Order, b.params[s.param].name)
	}
	d.Synced = len(b.syncs)
	if b.fixed {
		d.Bucket = [2]int{b.plan.first, b.plan.others}
	}
	return d
}

// encode cannot fail: a digest is strings and numbers.
func (d digest) encode() []byte {
	b, err := json.Marshal(d)
	if err != nil {
		panic(fmt.Sprintf("bridge: digest %+v: %v", d, err))
	}
	return b
}

// compareDigests returns an error that names the first difference between the
// peer of rank 0 and any other. All peers call it with the same arguments, so
// all return the same error.
func compareDigests(ids []string, all [][]byte) error {
	var first digest
	for i, b := range all {
		var d digest
		if err := json.Unmarshal(b, &d); err != nil {
			return fmt.Errorf("bridge: what %s says about its model: %w", ids[i], err)
		}
		if i == 0 {
			first = d
		}
		if err := first.compare(d, ids[0], ids[i]); err != nil {
			return fmt.Errorf("%w; all peers train one model: start them with the same program and options", err)
		}
	}
	return nil
}

func (d digest) compare(e digest, a, b string) error {
	for i := range max(len(d.Params), len(e.Params)) {
		switch {
		case i >= len(d.Params):
			return fmt.Errorf("bridge: parameter %q %v is on %s but not on %s", e.Params[i].Name, e.Params[i], b, a)
		case i >= len(e.Params):
			return fmt.Errorf("bridge: parameter %q %v is on %s but not on %s", d.Params[i].Name, d.Params[i], a, b)
		}
		p, q := d.Params[i], e.Params[i]
		if p.Name != q.Name {
			return fmt.Errorf("bridge: parameter %d is %q %v on %s but %q %v on %s", i, p.Name, p, a, q.Name, q, b)
		}
		if !slices.Equal(p.Shape, q.Shape) || p.Type != q.Type || p.ColMajor != q.ColMajor {
			return fmt.Errorf("bridge: parameter %q is %v on %s but %v on %s", p.Name, p, a, q, b)
		}
	}
	if !slices.Equal(d.Averages, e.Averages) {
		return fmt.Errorf("bridge: averages are %q on %s but %q on %s", d.Averages, a, e.Averages, b)
	}
	if d.Solver != e.Solver {
		return fmt.Errorf("bridge: the solver is %q on %s but %q on %s", d.Solver, a, e.Solver, b)
	}
	if !slices.Equal(d.Order, e.Order) {
		return fmt.Errorf("bridge: gradients become ready in the order %q on %s but %q on %s: are their graphs built alike, and both given to VM, or neither?", d.Order, a, e.Order, b)
	}
	if d.Synced != e.Synced {
		return fmt.Errorf("bridge: %d nodes of SyncBatchNorm on %s but %d on %s", d.Synced, a, e.Synced, b)
	}
	if d.Bucket != e.Bucket {
		return fmt.Errorf("bridge: buckets are of %v bytes on %s but %v on %s", d.Bucket, a, e.Bucket, b)
	}
	return nil
}
