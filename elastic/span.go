package elastic

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A Track says beside which other spans of a peer a span stands.
type Track uint8

const (
	// Phases follow each other without a gap, and what stands Inside one is
	// within it.
	Phases Track = iota
	Inside
	// Views are changes of the group; they do not overlap.
	Views
	// Collectives may overlap each other.
	Collectives
	// Counts have no length: what was sent and received with a step.
	Counts
)

// A Span is a time that a peer has spent on something.
type Span struct {
	Track Track
	Name  string // of the phase, of what stands inside, of the bucket
	Begin int64  // nanoseconds since 1970, by the peer's clock
	End   int64
	Step  uint64 // committed before
	Epoch uint64 // of the view
	Lost  uint64 // spans before this one that came too fast

	// Of a collective.
	Seq       uint64 // alike on all peers of the epoch
	Bytes     uint64
	Algorithm string
	Failed    bool

	// Of a count, since the one before.
	Sent, Received uint64
}

// SpanType is the type of the content of GET /trace.
const SpanType = "application/vnd.ringrun.spans; version=2"

// maxSpanText bounds the names in a Span.
const maxSpanText = 256

// AppendTo appends the span as it travels: one number after the other, in as few
// bytes as each takes.
func (s Span) AppendTo(b []byte) []byte {
	failed := uint64(0)
	if s.Failed {
		failed = 1
	}
	b = append(b, byte(s.Track))
	b = appendText(b, s.Name)
	b = binary.AppendUvarint(b, uint64(s.Begin))
	b = binary.AppendUvarint(b, uint64(s.End-s.Begin))
	for _, n := range []uint64{s.Step, s.Epoch, s.Lost} {
		b = binary.AppendUvarint(b, n)
	}
	switch s.Track {
	case Collectives:
		b = appendText(b, s.Algorithm)
		for _, n := range []uint64{s.Seq, s.Bytes, failed} {
			b = binary.AppendUvarint(b, n)
		}
	case Counts:
		b = binary.AppendUvarint(binary.AppendUvarint(b, s.Sent), s.Received)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	s = s[:min(len(s), maxSpanText)]
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// ErrSpan reports bytes that are no spans.
var ErrSpan = errors.New("elastic: not a span")

// A SpanReader reads what GET /trace sends.
type SpanReader struct {
	r     *bufio.Reader
	texts map[string]string // those seen, so that they take memory once
	buf   [maxSpanText]byte
	err   error
}

// NewSpanReader returns a reader of spans.
func NewSpanReader(r io.Reader) *SpanReader {
	return &SpanReader{r: bufio.NewReaderSize(r, 64<<10), texts: make(map[string]string)}
}

// Next returns the next span, and io.EOF after the last one.
func (r *SpanReader) Next() (Span, error) {
	track, err := r.r.ReadByte()
	if err != nil {
		return Span{}, err
	}
	if track > byte(Counts) {
		return Span{}, fmt.Errorf("%w: track %d", ErrSpan, track)
	}
	r.err = nil
	s := Span{Track: Track(track), Name: r.text(), Begin: int64(r.number())}
	s.End = s.Begin + int64(r.number())
	s.Step, s.Epoch, s.Lost = r.number(), r.number(), r.number()
	switch s.Track {
	case Collectives:
		s.Algorithm, s.Seq, s.Bytes, s.Failed = r.text(), r.number(), r.number(), r.number() == 1
	case Counts:
		s.Sent, s.Received = r.number(), r.number()
	}
	if errors.Is(r.err, io.EOF) {
		r.err = io.ErrUnexpectedEOF
	}
	return s, r.err
}

func (r *SpanReader) number() uint64 {
	if r.err != nil {
		return 0
	}
	var b [binary.MaxVarintLen64]byte
	for i := range b {
		if b[i], r.err = r.r.ReadByte(); r.err != nil {
			return 0
		}
		if b[i] < 1<<7 {
			if n, size := binary.Uvarint(b[:i+1]); size > 0 {
				return n
			}
			break
		}
	}
	r.err = fmt.Errorf("%w: a number of more than 64 bits", ErrSpan)
	return 0
}

// maxSpanTexts is how many different names are kept.
const maxSpanTexts = 4096

func (r *SpanReader) text() string {
	n := r.number()
	if r.err == nil && n > maxSpanText {
		r.err = fmt.Errorf("%w: a name of %d bytes", ErrSpan, n)
	}
	if r.err != nil {
		return ""
	}
	b := r.buf[:n]
	if _, r.err = io.ReadFull(r.r, b); r.err != nil {
		return ""
	}
	s, ok := r.texts[string(b)]
	if !ok {
		s = string(b)
		if len(r.texts) < maxSpanTexts {
			r.texts[s] = s
		}
	}
	return s
}
