package bridge

import (
	"reflect"
	"strings"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Types like Gorgonia's, each changed in one way that another version might be.
type (
	dualValue struct {
		gorgonia.Value
		d gorgonia.Value
	}
	adamwState struct{ expMA, expMASq, denom tensor.Tensor }

	sameDual  struct{ cache []*dualValue }
	sameAdamW struct {
		iter   float64
		states map[*gorgonia.Node]*adamwState
	}
	newField   struct{ schedule func() float64 }
	otherCache struct {
		cache []*struct{ m, v gorgonia.Value }
	}
	otherMap  struct{ states map[string]*adamwState }
	twoCaches struct{ cache, more []*dualValue }
)

func TestLayoutIsChecked(t *testing.T) {
	for _, tt := range []struct {
		solver any
		want   string // in the error; empty: accepted
	}{
		{sameDual{}, ""},
		{sameAdamW{}, ""},
		{newField{}, "field schedule"},
		{otherCache{}, "field cache"},
		{otherMap{}, "field states"},
		{twoCaches{}, "in 2 places"},
	} {
		err := checkLayout(reflect.TypeOf(tt.solver))
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%T: error %v, want %q", tt.solver, err, tt.want)
		}
	}
}

func TestOwnSolversAreAccepted(t *testing.T) {
	for _, s := range ownSolvers {
		if err := checkSolver(s.make(1)); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
	}
}
