package elastic

import (
	"bytes"
	"testing"
)

func saved(tb testing.TB) []byte {
	g := &Group{steps: 7, ledger: &ledger{Samples: someSamples, Cursor: 40, Back: []int{3, 9}}, state: &counter{counts: make([]float64, 5)}}
	var b bytes.Buffer
	if err := g.save(&b); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func TestStateRoundTrip(t *testing.T) {
	g := &Group{ledger: &ledger{Samples: someSamples}, state: &counter{counts: make([]float64, 5)}}
	if err := g.load(saved(t)); err != nil {
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

// Every damaged byte is noticed.
func TestDamagedState(t *testing.T) {
	good := saved(t)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x40
		if _, _, err := parseState(bad); err == nil {
			t.Fatalf("byte %d of %d damaged, and no error", i, len(good))
		}
	}
	for n := range good {
		if _, _, err := parseState(good[:n]); err == nil {
			t.Fatalf("cut to %d of %d bytes, and no error", n, len(good))
		}
	}
}

func FuzzParseState(f *testing.F) {
	f.Add(saved(f))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, _, err := parseState(b); err == nil && p.Ledger != nil && p.Ledger.Samples.Batch < 1<<16 {
			p.Ledger.batch() // a ledger that passed validation can be worked with
		}
	})
}
