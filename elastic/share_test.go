package elastic

import (
	"bytes"
	"slices"
	"testing"
)

func savedGroup() *Group {
	return &Group{steps: 7, ledger: &ledger{Samples: someSamples, Cursor: 40, Back: []int{3, 9}}, state: &counter{counts: make([]float64, 5)}}
}

func saved(tb testing.TB) []byte {
	var b bytes.Buffer
	if err := savedGroup().save(&b); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func TestStateRoundTrip(t *testing.T) {
	g := &Group{ledger: &ledger{Samples: someSamples}, state: &counter{counts: make([]float64, 5)}}
	if err := g.load(bytes.NewReader(saved(t))); err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := g.save(&again); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Bytes(), saved(t)) {
		t.Errorf("loaded and saved again: %q, want %q", again.Bytes(), saved(t))
	}
}

// A state that ends too early changes nothing.
func TestShortState(t *testing.T) {
	good := saved(t)
	for n := range good {
		g := &Group{ledger: &ledger{Samples: someSamples}, state: &counter{counts: make([]float64, 5)}}
		if err := g.load(bytes.NewReader(good[:n])); err == nil || g.steps != 0 {
			t.Fatalf("cut to %d of %d bytes: %v, after which there are %d steps", n, len(good), err, g.steps)
		}
	}
}

// The same state has the same manifest, however it is written, and every byte
// counts.
func TestManifest(t *testing.T) {
	b := make([]byte, 2*pieceBytes+77)
	for i := range b {
		b[i] = byte(i * 7)
	}
	cut := func(b []byte, most int) manifest {
		c := cutter{}
		for part := range slices.Chunk(b, most) {
			c.Write(part)
		}
		return c.close()
	}
	m := cut(b, len(b))
	if len(m.hashes) != 3 || m.bytes != int64(len(b)) || m.size(2) != 77 {
		t.Fatalf("%d pieces, %d bytes, the last of %d; want 3, %d, 77", len(m.hashes), m.bytes, m.size(2), len(b))
	}
	if other := cut(b, 1000); other.sum() != m.sum() {
		t.Errorf("written in parts of 1000: sum %#x, want %#x", other.sum(), m.sum())
	}
	for _, i := range []int{0, pieceBytes, len(b) - 1} {
		b[i] ^= 1
		if cut(b, len(b)).sum() == m.sum() {
			t.Errorf("byte %d does not count", i)
		}
		b[i] ^= 1
	}
	if cut(b[:len(b)-1], len(b)).sum() == m.sum() {
		t.Error("the length does not count")
	}
	p, err := parseManifest(m.encode(), m.bytes, m.sum())
	if err != nil || p.sum() != m.sum() {
		t.Errorf("parsed: %v, %v", p, err)
	}
}

// What others say about a state is checked before memory is taken for it.
func TestManifestsThatLie(t *testing.T) {
	m := manifest{bytes: 3 * pieceBytes, hashes: []uint64{1, 2, 3}}
	for name, tt := range map[string]struct {
		b     []byte
		bytes int64
		sum   uint64
	}{
		"another sum":     {m.encode(), m.bytes, m.sum() + 1},
		"fewer hashes":    {m.encode()[:16], m.bytes, m.sum()},
		"half a hash":     {m.encode()[:20], m.bytes, m.sum()},
		"fewer bytes":     {m.encode(), m.bytes - pieceBytes, m.sum()},
		"negative length": {nil, -1, m.sum()},
	} {
		if _, err := parseManifest(tt.b, tt.bytes, tt.sum); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestSalvage(t *testing.T) {
	old := newPartial(manifest{bytes: 2*pieceBytes + 5, hashes: []uint64{1, 2, 3}})
	old.keep(0, make([]byte, pieceBytes))
	old.keep(2, make([]byte, 5))
	p := newPartial(manifest{bytes: 3 * pieceBytes, hashes: []uint64{1, 2, 3}})
	p.salvage(old)
	if p.pieces[0] == nil || p.pieces[1] != nil || p.pieces[2] != nil || p.missing != 2 {
		t.Errorf("%d pieces missing, the first %v; want only the first, for the last has another length", p.missing, p.pieces[0] != nil)
	}
	if lacks := p.lacks(); !slices.Equal(lacks, []byte{0b110}) {
		t.Errorf("lacks %b, want 110", lacks)
	}
	if err := p.accept(1, make([]byte, pieceBytes)); err == nil {
		t.Error("a piece with another hash was accepted")
	}
}

func FuzzReadProgress(f *testing.F) {
	f.Add(saved(f))
	f.Add([]byte{})
	f.Add([]byte{255, 255, 255, 255, '{'})
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := readProgress(bytes.NewReader(b)); err == nil && p.Ledger != nil && p.Ledger.Samples.Batch < 1<<16 {
			p.Ledger.batch() // a ledger that passed validation can be worked with
		}
	})
}
