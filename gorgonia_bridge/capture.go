package bridge

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"unsafe"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringrun/ringrun/elastic"
)

// Gorgonia's solvers export nothing of what they keep between steps, so it is
// read and written through reflection. They keep numbers, and per parameter
// either two values (cache, prevDV: []*dualValue) or three (states:
// map[*Node]*adamwState). checkSolver compares all the types on the way with
// those of gorgonia v0.9.18, and any other version is refused. So is any other
// solver, but those that save and load what they keep themselves.

// A snapshot is what a solver keeps between steps.
type snapshot struct {
	Type    string
	Numbers []number
	Slots   [][]gorgonia.Value // per parameter; nil: nothing yet, as before the first step
}

// A number is a float64, int or bool field, as the bits of a float64 or integer.
type number struct {
	Name string
	Kind byte // 'f', 'i' or 'b'
	Bits uint64
}

var (
	valueType  = reflect.TypeFor[gorgonia.Value]()
	tensorType = reflect.TypeFor[tensor.Tensor]()
	nodeType   = reflect.TypeFor[*gorgonia.Node]()
)

// checkSolver reports why s cannot be saved and restored.
func checkSolver(s gorgonia.Solver) error {
	switch s.(type) {
	case nil:
		return errors.New("bridge: the solver is nil")
	case elastic.State:
		return nil
	case *gorgonia.VanillaSolver, *gorgonia.Momentum, *gorgonia.AdamSolver, *gorgonia.AdamW,
		*gorgonia.RMSPropSolver, *gorgonia.AdaGradSolver, *gorgonia.BarzilaiBorweinSolver:
		return checkLayout(reflect.TypeOf(s).Elem())
	}
	return fmt.Errorf("bridge: %T is none of Gorgonia's own solvers, and has no Save and Load, so what it keeps between steps could not be given to peers that come later", s)
}

// checkLayout reports the first field of a solver that is of no known type.
func checkLayout(t reflect.Type) error {
	slots := 0
	for i := range t.NumField() {
		f := t.Field(i)
		switch {
		case kindOf(f.Type) != 0:
		case isDualCache(f.Type), isStateMap(f.Type):
			slots++
		default:
			return fmt.Errorf("bridge: field %s of %v has type %v, which gorgonia v0.9.18 does not have there", f.Name, t, f.Type)
		}
	}
	if slots > 1 {
		return fmt.Errorf("bridge: %v keeps values in %d places, gorgonia v0.9.18 in one", t, slots)
	}
	return nil
}

func kindOf(t reflect.Type) byte {
	switch t.Kind() {
	case reflect.Float64:
		return 'f'
	case reflect.Int:
		return 'i'
	case reflect.Bool:
		return 'b'
	}
	return 0
}

// isDualCache recognises []*dualValue; struct dualValue{ Value; d Value }.
func isDualCache(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && isRecord(t.Elem(), "dualValue", valueType, "Value", "d")
}

// isStateMap recognises map[*Node]*adamwState; three tensors are in the struct.
func isStateMap(t reflect.Type) bool {
	return t.Kind() == reflect.Map && t.Key() == nodeType &&
		isRecord(t.Elem(), "adamwState", tensorType, "expMA", "expMASq", "denom")
}

// isRecord reports whether t points to a struct of that name with exactly those
// fields, all of one type.
func isRecord(t reflect.Type, name string, of reflect.Type, fields ...string) bool {
	if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return false
	}
	if t = t.Elem(); t.Name() != name || t.NumField() != len(fields) {
		return false
	}
	for i, f := range fields {
		if t.Field(i).Name != f || t.Field(i).Type != of {
			return false
		}
	}
	return true
}

// open returns a settable view of a field, exported or not.
func open(f reflect.Value) reflect.Value {
	return reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem()
}

// capture returns what s keeps. The values are those of s, not copies.
func capture(s gorgonia.Solver, params []param) (snapshot, error) {
	out := snapshot{Type: typeName(s), Numbers: numbersOf(s)}
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		f := open(v.Field(i))
		if kindOf(f.Type()) != 0 || f.Len() == 0 { // empty or nil: before the first step
			continue
		}
		kept := 0
		out.Slots = make([][]gorgonia.Value, len(params))
		for j, p := range params {
			if out.Slots[j] = recordValues(entry(f, j, p)); out.Slots[j] != nil {
				kept++
			}
		}
		if f.Len() != kept {
			return snapshot{}, fmt.Errorf("bridge: %T keeps values of %d parameters, %d of them are attached", s, f.Len(), kept)
		}
	}
	return out, nil
}

func numbersOf(s gorgonia.Solver) []number {
	var out []number
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		if f := open(v.Field(i)); kindOf(f.Type()) != 0 {
			out = append(out, number{v.Type().Field(i).Name, kindOf(f.Type()), bitsOf(f)})
		}
	}
	return out
}

// entry returns the pointer that a solver keeps for one parameter, or zero.
func entry(f reflect.Value, i int, p param) reflect.Value {
	if f.Kind() == reflect.Slice {
		if i < f.Len() {
			return f.Index(i)
		}
		return reflect.Value{}
	}
	return f.MapIndex(reflect.ValueOf(p.node))
}

func recordValues(p reflect.Value) []gorgonia.Value {
	if !p.IsValid() || p.IsNil() {
		return nil
	}
	out := make([]gorgonia.Value, p.Elem().NumField())
	for i := range out {
		out[i], _ = open(p.Elem().Field(i)).Interface().(gorgonia.Value)
	}
	return out
}

func bitsOf(f reflect.Value) uint64 {
	switch f.Kind() {
	case reflect.Float64:
		return math.Float64bits(f.Float())
	case reflect.Int:
		return uint64(f.Int())
	}
	if f.Bool() {
		return 1
	}
	return 0
}

// restore makes s keep what the snapshot says, which fits.
func restore(s gorgonia.Solver, params []param, from snapshot) {
	v := reflect.ValueOf(s).Elem()
	numbers := from.Numbers
	for i := range v.NumField() {
		f := open(v.Field(i))
		if kindOf(f.Type()) == 0 {
			setSlots(f, params, from.Slots)
			continue
		}
		switch bits := numbers[0].Bits; f.Kind() {
		case reflect.Float64:
			f.SetFloat(math.Float64frombits(bits))
		case reflect.Int:
			f.SetInt(int64(bits))
		default:
			f.SetBool(bits == 1)
		}
		numbers = numbers[1:]
	}
}

// setSlots replaces the slice or map f by one with the values of slots.
func setSlots(f reflect.Value, params []param, slots [][]gorgonia.Value) {
	isMap := f.Kind() == reflect.Map
	switch {
	case isMap:
		f.Set(reflect.MakeMap(f.Type()))
	case slots == nil:
		f.SetZero()
	default:
		f.Set(reflect.MakeSlice(f.Type(), len(slots), len(slots)))
	}
	for i, values := range slots {
		if values == nil {
			continue
		}
		p := reflect.New(f.Type().Elem().Elem())
		for j, v := range values {
			open(p.Elem().Field(j)).Set(reflect.ValueOf(v))
		}
		if isMap {
			f.SetMapIndex(reflect.ValueOf(params[i].node), p)
		} else {
			f.Index(i).Set(p)
		}
	}
}

// perSlot returns how many values a solver keeps for each parameter.
func perSlot(s gorgonia.Solver) int {
	t := reflect.TypeOf(s).Elem()
	for i := range t.NumField() {
		if ft := t.Field(i).Type; kindOf(ft) == 0 {
			return ft.Elem().Elem().NumField()
		}
	}
	return 0
}
