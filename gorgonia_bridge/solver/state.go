package solver

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
)

const (
	stateMagic   = "RRSO"
	stateVersion = 1
	maxName      = 1 << 10 // bytes in a name
)

// A Record is what a solver keeps of one parameter.
type Record struct {
	Steps  int                  // that the parameter was in
	Values map[string][]float64 // "velocity"; or "mean", "square"; in the order of memory
}

// State returns a copy of what is kept, by the names of the parameters.
func (s *Solver) State() map[string]Record {
	out := make(map[string]Record, len(s.slots))
	for name, sl := range s.slots {
		r := Record{Steps: sl.steps, Values: make(map[string][]float64)}
		for i, what := range s.algorithm.keeps {
			values := slices.Clone(sl.kept[i].f64)
			for _, x := range sl.kept[i].f32 {
				values = append(values, float64(x))
			}
			r.Values[what] = values
		}
		out[name] = r
	}
	return out
}

// Save writes what is kept. After the same steps it writes the same bytes on all
// peers. Options are not in it.
//
//	+--------+---------+-----------+-------+---------+--------+-------+
//	| "RRSO" | version | algorithm | steps | skipped | in row | count |
//	+--------+---------+-----------+-------+---------+--------+-------+
//	| count × (name, steps, size of an element, length, elements)     |
//	+----------------------------------------+------------------------+
//	| CRC-32C of all the above               |
//	+----------------------------------------+
//
// The parameters are in the order of their names; of each there are as many
// arrays of elements, one after another, as the algorithm keeps. Integers are
// little-endian: version uint16, CRC and count uint32, size uint8 (4: float32,
// 8: float64), the others uint64; algorithm and names are uint16 length, bytes.
// Readers refuse any version but their own.
func (s *Solver) Save(w io.Writer) error {
	if s.err != nil {
		return s.err
	}
	e := newEncoder(w)
	e.bytes([]byte(stateMagic)...)
	e.uint(2, stateVersion)
	e.string(s.algorithm.name)
	e.uint(8, uint64(s.steps))
	e.uint(8, uint64(s.skipped))
	e.uint(8, uint64(s.inARow))
	e.uint(4, uint64(len(s.slots)))
	for _, name := range slices.Sorted(maps.Keys(s.slots)) {
		sl := s.slots[name]
		e.string(name)
		e.uint(8, uint64(sl.steps))
		e.uint(1, uint64(sl.size))
		e.uint(8, uint64(sl.len))
		for _, a := range sl.kept {
			e.array(a)
		}
	}
	if err := e.close(); err != nil {
		return fmt.Errorf("solver: save state: %w", err)
	}
	return nil
}

// Load takes over what Save wrote, in this process or another, in place of what
// is kept. Whether lengths are those of the model shows in the next Step. Errors
// about what it reads wrap ErrState; then nothing changes.
func (s *Solver) Load(r io.Reader) error {
	if s.err != nil {
		return s.err
	}
	d := newDecoder(r)
	var magic [len(stateMagic)]byte
	d.bytes(magic[:])
	if string(magic[:]) != stateMagic {
		d.fail("it begins with %q, want %q", magic, stateMagic)
	}
	if v := d.uint(2); v != stateVersion {
		d.fail("version %d, this is version %d", v, stateVersion)
	}
	if name := d.string(); name != s.algorithm.name {
		d.fail("it is of %q, this is %q", name, s.algorithm.name)
	}
	steps, skipped, inARow := d.count(), d.count(), d.count()
	slots := d.slots(len(s.algorithm.keeps))
	if err := d.close(); err != nil {
		return err
	}
	s.steps, s.skipped, s.inARow, s.slots = steps, skipped, inARow, slots
	return nil
}

// slots reads parameters of which each has so many arrays.
func (d *decoder) slots(arrays int) map[string]*slot {
	slots := make(map[string]*slot)
	last := ""
	for range d.uint(4) {
		sl := &slot{name: d.string(), steps: d.count(), size: int(d.uint(1)), len: d.count()}
		switch {
		case d.err != nil:
		case sl.name <= last:
			d.fail("parameter %q comes after %q", sl.name, last)
		case sl.size != 4 && sl.size != 8:
			d.fail("parameter %q has elements of %d bytes", sl.name, sl.size)
		case sl.len == 0:
			d.fail("parameter %q has no elements", sl.name)
		}
		for range arrays {
			sl.kept = append(sl.kept, d.array(sl.size, sl.len))
		}
		if d.err != nil {
			return nil
		}
		slots[sl.name] = sl
		last = sl.name
	}
	return slots
}

// count reads a number that an int can hold.
func (d *decoder) count() int {
	n := d.uint(8)
	if n > math.MaxInt {
		d.fail("a count of %d", n)
		return 0
	}
	return int(n)
}
