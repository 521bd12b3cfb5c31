package bridge

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/ringrun/ringrun/elastic"
)

const (
	itemsMagic   = "RRSI"
	itemsVersion = 1
	maxItems     = 1 << 16
)

// Keep adds something of the program's to the state that newcomers and laggards
// get: a counter, a random generator, an average of the weights. It must be equal
// on all peers after equal steps, and change only where all of them change it, as
// after a Step that was committed. Names are the bridge's own, and the same on all
// peers. Keep is called before the first Shards or Step.
func (b *Bridge) Keep(name string, s elastic.State) error {
	switch {
	case s == nil:
		return fmt.Errorf("bridge: Keep(%q) of nothing", name)
	case len(name) == 0 || len(name) > maxName:
		return fmt.Errorf("bridge: Keep with a name of %d bytes, want 1 to %d", len(name), maxName)
	}
	keeper, ok := b.group.(*keeper)
	if !ok {
		keeper = newKeeper(b)
	}
	for _, it := range keeper.items {
		if it.name == name {
			return fmt.Errorf("bridge: Keep(%q) was called before", name)
		}
	}
	if len(keeper.items) == maxItems {
		return fmt.Errorf("bridge: Keep of more than %d items", maxItems)
	}
	keeper.items = append(keeper.items, item{name, s})
	return nil
}

// An item is something of the program's, under a name.
type item struct {
	name string
	elastic.State
}

// A keeper is the group of a Bridge that has items: their State goes with the
// bridge's own.
type keeper struct {
	group
	bridge *Bridge
	items  []item
	norms  *norms // nil without KeepNorms
}

func newKeeper(b *Bridge) *keeper {
	k := &keeper{group: b.group, bridge: b}
	b.group = k
	k.SetState(k)
	return k
}

// Save writes the items and then the bridge.
//
//	+--------+---------+-------+------------------------------------+
//	| "RRSI" | version | count | count × (name, pieces)             |
//	+--------+---------+-------+------------------------------------+
//	| CRC-32C of all the above | what Bridge.Save writes            |
//	+--------------------------+------------------------------------+
//
// Names and pieces are as in Bridge.Save.
func (k *keeper) Save(w io.Writer) error {
	e := newEncoder(w)
	e.bytes([]byte(itemsMagic)...)
	e.uint(2, itemsVersion)
	e.uint(4, uint64(len(k.items)))
	for _, it := range k.items {
		e.string(it.name)
		if err := it.Save(pieces{e}); err != nil {
			return fmt.Errorf("bridge: save %q: %w", it.name, err)
		}
		e.uint(4, 0)
	}
	if err := e.close(); err != nil {
		return fmt.Errorf("bridge: save items: %w", err)
	}
	return k.bridge.Save(w)
}

// Load takes over what Save wrote. Unless an item refuses what it is given,
// either all of it fits or nothing changes.
func (k *keeper) Load(r io.Reader) error {
	d := newDecoder(r)
	var magic [len(itemsMagic)]byte
	d.bytes(magic[:])
	if string(magic[:]) != itemsMagic {
		d.fail("it begins with %q, want %q: do all peers call Keep?", magic, itemsMagic)
	}
	if v := d.uint(2); v != itemsVersion {
		d.fail("version %d of items, this is version %d", v, itemsVersion)
	}
	if n := d.uint(4); n != uint64(len(k.items)) {
		d.fail("%d items, here %d", n, len(k.items))
	}
	kept := make([][]byte, len(k.items))
	for i, it := range k.items {
		if name := d.string(); name != it.name {
			d.fail("item %d is %q, here it is %q", i, name, it.name)
		}
		kept[i] = d.pieces()
	}
	if err := d.close(); err != nil {
		return err
	}
	if err := k.bridge.Load(r); err != nil {
		return err
	}
	var errs []error
	for i, it := range k.items {
		if err := it.Load(bytes.NewReader(kept[i])); err != nil {
			errs = append(errs, fmt.Errorf("%w: item %q: %w", ErrState, it.name, err))
		}
	}
	return errors.Join(errs...)
}
