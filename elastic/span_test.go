package elastic

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

var someSpans = []Span{
	{Track: Phases, Name: "computing", Begin: 1_700_000_000_000_000_000, End: 1_700_000_000_001_000_000, Step: 17, Epoch: 2},
	{Track: Inside, Name: "", Begin: -5, End: -3, Lost: 1 << 40},
	{Track: Views, Name: "view 3", Begin: 5, End: 4}, // a clock that was put back
	{Track: Collectives, Name: "bucket ü", Begin: 1, End: 2, Seq: 9, Bytes: 1 << 33, Algorithm: "ring", Failed: true},
	{Track: Counts, Begin: 1, End: 1, Sent: 1<<64 - 1, Received: 1},
}

func readSpans(r io.Reader) (all []Span, err error) {
	in := NewSpanReader(r)
	for {
		s, err := in.Next()
		if err != nil {
			return all, err
		}
		all = append(all, s)
	}
}

func appendSpans(all []Span) (b []byte) {
	for _, s := range all {
		b = s.AppendTo(b)
	}
	return b
}

func TestSpans(t *testing.T) {
	b := appendSpans(someSpans)
	got, err := readSpans(iotest.OneByteReader(bytes.NewReader(b)))
	if err != io.EOF || !slices.Equal(got, someSpans) {
		t.Errorf("%+v, %v; want %+v", got, err, someSpans)
	}
	ends := map[int]bool{0: true} // where a span does
	for i := range someSpans {
		ends[len(appendSpans(someSpans[:i+1]))] = true
	}
	for n := range b {
		want := io.ErrUnexpectedEOF
		if ends[n] {
			want = io.EOF
		}
		if _, err := readSpans(bytes.NewReader(b[:n])); err != want {
			t.Errorf("%d of %d bytes: %v, want %v", n, len(b), err, want)
		}
	}
	if got, err := readSpans(bytes.NewReader(Span{Name: strings.Repeat("n", 1000)}.AppendTo(nil))); err != io.EOF || got[0].Name != strings.Repeat("n", maxSpanText) {
		t.Errorf("a long name: %+v, %v", got, err)
	}
}

func TestNotSpans(t *testing.T) {
	huge := strings.Repeat("\xff", 9)
	for _, tt := range []struct{ name, bytes string }{
		{"another track", "\x05"},
		{"a web server", "<html>"},
		{"a name longer than any", "\x00\x81\x02" + strings.Repeat("n", 257)},
		{"a name without an end", "\x00" + huge + "\x01"},
		{"a number of 65 bits", "\x00\x00" + huge + "\x02"},
		{"a number without an end", "\x00\x00" + huge + huge},
	} {
		if got, err := readSpans(strings.NewReader(tt.bytes)); !errors.Is(err, ErrSpan) || len(got) > 0 {
			t.Errorf("%s: %+v, %v; want %v", tt.name, got, err, ErrSpan)
		}
	}
	broken := errors.New("connection reset")
	if _, err := readSpans(io.MultiReader(strings.NewReader("\x00\x02n"), iotest.ErrReader(broken))); err != broken {
		t.Errorf("%v, want %v", err, broken)
	}
}

// A peer that makes up names costs little.
func TestSpanNamesAreBounded(t *testing.T) {
	var b []byte
	for i := range 3 * maxSpanTexts {
		b = Span{Name: strings.Repeat("n", i%maxSpanText) + string(rune('a'+i/maxSpanText))}.AppendTo(b)
	}
	in := NewSpanReader(bytes.NewReader(b))
	for {
		if _, err := in.Next(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n := len(in.texts); n != maxSpanTexts {
		t.Errorf("%d names are kept, want %d", n, maxSpanTexts)
	}
}

// FuzzSpanReader: whatever comes is spans or refused by name, no name is longer
// than allowed, and what was read is written so that it reads alike.
func FuzzSpanReader(f *testing.F) {
	f.Add(appendSpans(someSpans))
	f.Add([]byte("\x00\x81\x02"))
	f.Add([]byte("\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := readSpans(bytes.NewReader(b))
		if err != io.EOF && err != io.ErrUnexpectedEOF && !errors.Is(err, ErrSpan) {
			t.Fatal(err)
		}
		for _, s := range all {
			if len(s.Name) > maxSpanText || len(s.Algorithm) > maxSpanText {
				t.Fatalf("%+v", s)
			}
		}
		if again, err := readSpans(bytes.NewReader(appendSpans(all))); err != io.EOF || !slices.Equal(again, all) {
			t.Fatalf("%+v was read again as %+v, %v", all, again, err)
		}
	})
}
