package elastic

import (
	"fmt"
	"strings"
)

// A doing is what a peer does at one moment, as far as others need to know when
// they wait for it.
type doing struct {
	phase   Phase
	step    uint64 // committed before
	bucket  int    // all-reduces begun in this step
	buckets int    // in the step before; 0: unknown
}

// phaseCodes are the phases in the order in which a step has them.
var phaseCodes = []Phase{"", Waiting, Computing, Reducing, Applying}

// word packs what fits a heartbeat:
//
//	+------+--------+---------+-------+
//	| step | bucket | buckets | phase |
//	+------+--------+---------+-------+
//	  32     12       12        8       bits
//
// The step stands first, so that words grow; see ring.Pulse.
func (d doing) word() uint64 {
	code := 0
	for i, p := range phaseCodes {
		if p == d.phase {
			code = i
		}
	}
	return d.step&(1<<32-1)<<32 | uint64(min(d.bucket, 1<<12-1))<<20 | uint64(min(d.buckets, 1<<12-1))<<8 | uint64(code)
}

// parseDoing is the inverse of word.
func parseDoing(word uint64) doing {
	d := doing{step: word >> 32, bucket: int(word >> 20 & (1<<12 - 1)), buckets: int(word >> 8 & (1<<12 - 1))}
	if code := int(word & 255); code < len(phaseCodes) {
		d.phase = phaseCodes[code]
	}
	return d
}

// String is "computing, step 17, last bucket 3 of 7".
func (d doing) String() string {
	parts := []string{string(d.phase), fmt.Sprintf("step %d", d.step), d.progress()}
	if d.phase == "" {
		parts = parts[1:]
	}
	return strings.TrimSuffix(strings.Join(parts, ", "), ", ")
}

// progress is how far the step has come: "last bucket 3 of 7", or "" if nothing is
// to be said.
func (d doing) progress() string {
	switch {
	case d.buckets > 0 && d.bucket == 0:
		return fmt.Sprintf("no bucket of %d", d.buckets)
	case d.bucket > d.buckets: // the first step: it is not known how many there are
		return fmt.Sprintf("last bucket %d", d.bucket)
	case d.bucket > 0:
		return fmt.Sprintf("last bucket %d of %d", d.bucket, d.buckets)
	}
	return ""
}
