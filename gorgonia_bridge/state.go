package bridge

import (
	"bytes"
	"fmt"
	"io"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringrun/ringrun/elastic"
)

const (
	stateMagic   = "RRST"
	stateVersion = 1
)

// Save writes the parameters and what the solver keeps between steps. After the
// same steps it writes the same bytes on all peers.
//
//	+--------+---------+-------+----------------------------------+
//	| "RRST" | version | count | count × (name, value)            |  parameters
//	+--------+---------+-------+----------------------------------+
//	| type of the solver | count | count × (name, kind, bits)     |  its numbers
//	+--------------------+-------+--------------------------------+
//	| count | count × (values, values × value)                    |  its values
//	+-------+-----------------------------------------------------+
//	| length | bytes | … | 0 |                                      what it saved,
//	+--------+-------+---+---+                                      if it does
//	| CRC-32C of all the above                       |
//	+------------------------------------------------+
//
//	name   uint16 length, bytes
//	value  uint8 bytes in an element (4: float32, 8: float64), uint8 order
//	       (1: columns first), uint8 dimensions, a uint64 for each, elements
//
// Integers are little-endian: version uint16, counts and lengths uint32, bits
// uint64, kind and values uint8. Readers refuse any version but their own.
func (b *Bridge) Save(w io.Writer) error {
	if b.solverErr != nil {
		return b.solverErr
	}
	e := newEncoder(w)
	e.bytes([]byte(stateMagic)...)
	e.uint(2, stateVersion)
	all := b.all()
	e.uint(4, uint64(len(all)))
	for _, p := range all {
		v, _, err := p.value()
		if err != nil {
			return err
		}
		e.string(p.name)
		e.value(v)
	}
	if err := e.solver(b.solver, b.params); err != nil {
		return err
	}
	if err := e.close(); err != nil {
		return fmt.Errorf("bridge: save state: %w", err)
	}
	return nil
}

// solver writes what s keeps. If it is an elastic.State, then that has no numbers
// and values that we know of, but bytes that it saves.
func (e *encoder) solver(s gorgonia.Solver, params []param) error {
	own, itself := s.(elastic.State)
	kept := snapshot{Type: typeName(s)}
	if s != nil && !itself {
		var err error
		if kept, err = capture(s, params); err != nil {
			return err
		}
	}
	if e.snapshot(kept); !itself {
		return nil
	}
	if err := own.Save(pieces{e}); err != nil {
		return err
	}
	e.uint(4, 0)
	return nil
}

func (e *encoder) snapshot(s snapshot) {
	e.string(s.Type)
	e.uint(4, uint64(len(s.Numbers)))
	for _, n := range s.Numbers {
		e.string(n.Name)
		e.bytes(n.Kind)
		e.uint(8, n.Bits)
	}
	e.uint(4, uint64(len(s.Slots)))
	for _, values := range s.Slots {
		e.bytes(byte(len(values)))
		for _, v := range values {
			e.value(v)
		}
	}
}

// Load takes over what Save wrote, on this peer or another. Either all of it
// fits this model and solver, or nothing changes. Errors about what it reads
// wrap ErrState.
func (b *Bridge) Load(r io.Reader) error {
	if b.solverErr != nil {
		return b.solverErr
	}
	d := newDecoder(r)
	all := b.all()
	values := d.params(all)
	s := d.snapshot(b.solver, b.params)
	var kept []byte
	own, itself := b.solver.(elastic.State)
	if itself {
		kept = d.pieces()
	}
	if err := d.close(); err != nil {
		return err
	}
	if itself { // first: it may refuse
		if err := own.Load(bytes.NewReader(kept)); err != nil {
			return fmt.Errorf("%w: %w", ErrState, err)
		}
	}
	for i, p := range all {
		if err := p.set(values[i]); err != nil {
			return err
		}
	}
	if b.solver != nil && !itself {
		restore(b.solver, b.params, s)
	}
	return nil
}

func (d *decoder) params(params []param) []gorgonia.Value {
	var magic [len(stateMagic)]byte
	d.bytes(magic[:])
	if string(magic[:]) != stateMagic {
		d.fail("it begins with %q, want %q", magic, stateMagic)
	}
	if v := d.uint(2); v != stateVersion {
		d.fail("version %d, this is version %d", v, stateVersion)
	}
	if n := d.uint(4); n != uint64(len(params)) {
		d.fail("%d parameters, the model has %d", n, len(params))
	}
	values := make([]gorgonia.Value, len(params))
	for i, p := range params {
		if name := d.string(); name != p.name {
			d.fail("parameter %d is %q, in the model it is %q", i, name, p.name)
		}
		values[i] = d.value(p, "the value")
		if t, ok := values[i].(*tensor.Dense); ok && (!t.Shape().Eq(p.shape) || t.DataOrder().IsColMajor() != p.colMajor) {
			d.fail("parameter %q is %v with columns first %t, in the model %v, %t", p.name, t.Shape(), t.DataOrder().IsColMajor(), p.shape, p.colMajor)
		}
	}
	return values
}

// snapshot reads what fits the solver s.
func (d *decoder) snapshot(s gorgonia.Solver, params []param) snapshot {
	own := snapshot{Type: typeName(s)} // what s keeps now: names and kinds must be the same
	slot := 0
	_, itself := s.(elastic.State)
	if s != nil && !itself {
		own.Numbers = numbersOf(s)
		slot = perSlot(s)
	}
	if t := d.string(); t != own.Type {
		d.fail("it is of solver %q, here it is %q", t, own.Type)
	}
	out := snapshot{Type: own.Type, Numbers: d.numbers(own.Numbers)}
	switch n := d.uint(4); {
	case n == 0 || d.err != nil:
	case n != uint64(len(params)) || slot == 0:
		d.fail("the solver keeps values of %d parameters, the model has %d", n, len(params))
	default:
		out.Slots = d.slots(params, slot)
	}
	return out
}

func (d *decoder) numbers(like []number) []number {
	if n := d.uint(4); n != uint64(len(like)) {
		d.fail("the solver has %d numbers, here %d", n, len(like))
	}
	out := make([]number, len(like))
	for i, l := range like {
		out[i] = number{d.string(), byte(d.uint(1)), d.uint(8)}
		if n := out[i]; n.Name != l.Name || n.Kind != l.Kind || n.Kind == 'b' && n.Bits > 1 {
			d.fail("number %d of the solver is %q, kind %q, bits %#x; here %q, kind %q", i, n.Name, n.Kind, n.Bits, l.Name, l.Kind)
		}
	}
	return out
}

func (d *decoder) slots(params []param, per int) [][]gorgonia.Value {
	out := make([][]gorgonia.Value, len(params))
	for i, p := range params {
		switch n := int(d.uint(1)); {
		case n == 0 || d.err != nil:
		case n != per:
			d.fail("the solver keeps %d values of %q, want %d", n, p.name, per)
		default:
			out[i] = make([]gorgonia.Value, per)
			for j := range out[i] {
				out[i][j] = d.value(p, "a value of the solver")
			}
		}
	}
	return out
}
