package blackbox

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"slices"
)

// A box, in a file or not, is
//
//	0        +--------------------------------------------+
//	         | magic, 8 bytes; a record: the Header       |
//	3072     +--------------------------------------------+
//	         | Gauge, even turns                          |
//	3584     +--------------------------------------------+
//	         | Gauge, odd turns                           |
//	4096     +--------------------------------------------+
//	         | records, each an Event, one after another  |
//	         | and again from the front                   |
//	         +--------------------------------------------+
//
// and a record, which begins at a multiple of 8 bytes,
//
//	+--------+-------+----------------+
//	| length | crc32 | JSON           |
//	+--------+-------+----------------+
//	  4        4       length           bytes, little-endian
//
// but for that of a gauge, which is written several times a step:
//
//	+--------+-------+----------------------------------------+-----------------+-------+
//	| length | crc32 | turn, time, since, step, epoch, memory | bucket, buckets | phase |
//	+--------+-------+----------------------------------------+-----------------+-------+
//	  4        4       8 each                                   4 each            the rest
//
// A reader needs no more than that: it takes every record whose checksum is right,
// wherever it is, and sorts them. A record that was torn, by the death of the
// writer or by the next lap, is not one. Gauges are written in turns, so that one
// of them is whole.
const (
	magic    = "RINGBOX1"
	gaugeAt  = 3072
	gaugeTo  = 512
	recordAt = 4096
	headLen  = 8
	maxJSON  = 2800 // of a record: an Event that is cut, with all of it quoted

	// MaxSize is how large a box can be.
	MaxSize = 1 << 22
)

// ErrNoBox reports that bytes are not those of a box.
var ErrNoBox = errors.New("blackbox: this is not a black box")

var table = crc32.MakeTable(crc32.Castagnoli)

// appendRecord appends a record without what fills it up to 8 bytes.
func appendRecord(b []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers
	}
	return seal(append(append(b, make([]byte, headLen)...), text...), len(b))
}

// seal fills in the head of the record that begins at a position of b.
func seal(b []byte, at int) []byte {
	text := b[at+headLen:]
	binary.LittleEndian.PutUint32(b[at:], uint32(len(text)))
	binary.LittleEndian.PutUint32(b[at+4:], crc32.Update(uint32(len(text)), table, text))
	return b
}

// record returns the JSON of the record at the beginning of b.
func record(b []byte) (text []byte, ok bool) {
	if len(b) < headLen {
		return nil, false
	}
	n := binary.LittleEndian.Uint32(b)
	if n == 0 || n > maxJSON || int(n) > len(b)-headLen {
		return nil, false
	}
	text = b[headLen : headLen+int(n)]
	return text, crc32.Update(n, table, text) == binary.LittleEndian.Uint32(b[4:])
}

// padded is how much room a record of n bytes takes.
func padded(n int) int { return (n + 7) &^ 7 }

// A Recording is what was in a box.
type Recording struct {
	Header Header  `json:"header"`
	Gauge  Gauge   `json:"gauge"`
	Events []Event `json:"events"` // in their order
}

// Parse reads a box, or as much as is whole of it.
func Parse(b []byte) (Recording, error) {
	var r Recording
	if len(b) < recordAt || len(b) > MaxSize || string(b[:len(magic)]) != magic {
		return r, ErrNoBox
	}
	text, ok := record(b[len(magic):gaugeAt])
	if !ok || json.Unmarshal(text, &r.Header) != nil {
		return r, ErrNoBox
	}
	for i := range 2 {
		var g Gauge
		at := gaugeAt + i*gaugeTo
		if text, ok := record(b[at : at+gaugeTo]); ok && g.parse(text) && g.Turn > r.Gauge.Turn {
			r.Gauge = g
		}
	}
	for at := recordAt; at < len(b); {
		text, ok := record(b[at:])
		if !ok {
			at += 8
			continue
		}
		var e Event
		if json.Unmarshal(text, &e) == nil && e.Seq > 0 {
			r.Events = append(r.Events, e)
		}
		at += padded(headLen + len(text))
	}
	r.Events = inOrder(r.Events)
	return r, nil
}

// appendTo appends the record of a gauge.
func (g *Gauge) appendTo(b []byte) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	for _, x := range []uint64{g.Turn, uint64(g.Time), uint64(g.Since), g.Step, g.Epoch, g.Memory} {
		b = binary.LittleEndian.AppendUint64(b, x)
	}
	b = binary.LittleEndian.AppendUint32(b, g.Bucket)
	b = append(binary.LittleEndian.AppendUint32(b, g.Buckets), g.Phase...)
	return seal(b, at)
}

// parse is the inverse, for what follows the head.
func (g *Gauge) parse(b []byte) bool {
	if len(b) < 7*8 {
		return false
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	g.Turn, g.Time, g.Since, g.Step, g.Epoch, g.Memory = word(0), int64(word(1)), int64(word(2)), word(3), word(4), word(5)
	g.Bucket, g.Buckets, g.Phase = uint32(word(6)), uint32(word(6)>>32), string(b[7*8:])
	return true
}

// inOrder sorts events, and drops those that are there twice.
func inOrder(events []Event) []Event {
	slices.SortStableFunc(events, func(a, b Event) int {
		switch {
		case a.Seq < b.Seq:
			return -1
		case a.Seq > b.Seq:
			return 1
		}
		return 0
	})
	return slices.CompactFunc(events, func(a, b Event) bool { return a.Seq == b.Seq })
}

// Merge adds what a copy of the same box has.
func (r Recording) Merge(o Recording) Recording {
	r.Events = inOrder(slices.Concat(r.Events, o.Events))
	if o.Gauge.Turn > r.Gauge.Turn {
		r.Gauge = o.Gauge
	}
	if r.Header.Keeper != "" && o.Header.Keeper == "" {
		r.Header = o.Header
	}
	return r
}
