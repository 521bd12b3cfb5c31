package elastic

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"
)

// FuzzNotes: a note that is read is written as the same bytes, and what follows
// from it follows without a fault.
func FuzzNotes(f *testing.F) {
	f.Add(note{Ready: 7, Pace: 1000, Steps: 3}.encode())
	f.Add(note{Out: true, Leaving: true, Knows: true}.encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := parseNotes([][]byte{note{}.encode(), b})
		if err != nil {
			return
		}
		if got := all[1].encode(); !bytes.Equal(got, b) {
			t.Fatalf("%x was read as %+v", b, all[1])
		}
		if gap := all.gap(); gap < 1 || gap > maxGap {
			t.Fatalf("%+v: a gap of %d", all, gap)
		}
		all.move()
		all.differ()
	})
}

// FuzzManifest: what describes a state has as many pieces as the state.
func FuzzManifest(f *testing.F) {
	m := manifest{bytes: pieceBytes + 5, hashes: []uint64{1, 2}}
	f.Add(m.encode(), m.bytes, m.sum())
	f.Add([]byte{}, int64(1)<<62, uint64(0))
	f.Add([]byte{}, int64(math.MaxInt64), uint64(0))
	f.Fuzz(func(t *testing.T, b []byte, size int64, sum uint64) {
		if n := piecesIn(size); size >= 0 && n < 0 {
			t.Fatalf("%d bytes are in %d pieces", size, n)
		}
		m, err := parseManifest(b, size, sum)
		if err != nil {
			return
		}
		total := int64(0)
		for i := range m.hashes {
			total += int64(m.size(i))
		}
		if total != size || !bytes.Equal(m.encode(), b) {
			t.Fatalf("pieces of a state of %d bytes have %d", size, total)
		}
	})
}

// FuzzStatuses: whatever a peer says about itself, the others find a plan or an
// error, and every position of the batch is dealt once.
func FuzzStatuses(f *testing.F) {
	for _, s := range []status{
		{ID: "b", Steps: 3, Veteran: true, Holding: true, Hand: []int{1, 2}},
		{ID: "b", Steps: 4, Sum: 1, Shared: true, Trail: []footprint{{}}},
	} {
		b, err := json.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"Hand":[-1,99999999999]}`))
	own, err := json.Marshal(status{ID: "a", Steps: 3, Veteran: true, Shared: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := parseStatuses([][]byte{own, b})
		if err != nil {
			return
		}
		p, err := decide(all)
		if err != nil {
			t.Fatalf("%s: %v, though a veteran is there", b, err)
		}
		diverged(all, p.Source, all[0].Trail)
		agreed(all)
		hands, anew := p.deal(all, []int{1, 2, 3, 4}, 2)
		if !anew && len(hands) != 2 {
			t.Fatalf("%s: hands %v", b, hands)
		}
	})
}
