package blackbox

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"
)

// Size is that of a box: some thousand events, which are minutes even where much
// happens.
const Size = 256 << 10

// recent is how many events Since can give.
const recent = 512

// A Box records what happens to a peer. Its methods may be called from any
// goroutine, and on nil, which records nothing. It never fails and never waits: if
// its file is taken away from it, it goes on in memory.
type Box struct {
	mu     sync.Mutex // guards all fields below but name
	data   []byte
	mapped bool
	header Header
	at     int // where the next record goes
	seq    uint64
	gauge  Gauge
	last   []Event // the newest ones
	buf    []byte

	name string
}

// New returns a box in memory: it dies with the process, but Since and Bytes can
// give it to others before.
func New(h Header) *Box {
	b := &Box{data: make([]byte, Size)}
	b.begin(h)
	return b
}

// Create makes a box in a file in dir, which is made, too. The file is named by
// the peer and by who keeps it.
func Create(dir string, h Header) (*Box, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("blackbox: %w", err)
	}
	name := url.PathEscape(h.ID)
	if h.Keeper != "" {
		name += "@" + url.PathEscape(h.Keeper)
	}
	b := &Box{name: filepath.Join(dir, name+Suffix)}
	if err := b.open(); err != nil {
		return nil, fmt.Errorf("blackbox: %w", err)
	}
	b.begin(h)
	return b, nil
}

// open maps a new file. All of it is written first: a hole that a full disk cannot
// fill would be a fault when it is written to.
func (b *Box) open() error {
	f, err := os.OpenFile(b.name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err = f.Write(make([]byte, Size)); err == nil {
		b.data, err = mapFile(f)
	}
	if err != nil {
		f.Close() // or some systems do not remove it
		return errors.Join(err, os.Remove(b.name))
	}
	b.mapped = true
	return nil
}

func (b *Box) begin(h Header) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.header, b.at = h, recordAt
	b.store(len(magic), appendRecord(nil, h))
	b.store(0, []byte(magic))
}

// Name returns that of the file, "" if there is none.
func (b *Box) Name() string {
	if b == nil {
		return ""
	}
	return b.name
}

// Header returns whose box it is.
func (b *Box) Header() Header {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.header
}

// Note records an event. Seq and Time are set unless they are: a copy keeps those
// of the original.
func (b *Box) Note(e Event) {
	if b == nil {
		return
	}
	if e.Time == 0 {
		e.Time = time.Now().UnixNano()
	}
	e = e.cut()
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.Seq == 0 {
		e.Seq = b.seq + 1
	}
	b.seq = max(b.seq, e.Seq)
	if len(b.last) == 2*recent {
		b.last = append(b.last[:0], b.last[recent:]...)
	}
	b.last = append(b.last, e)
	b.buf = appendRecord(b.buf[:0], e)
	if len(b.buf) > headLen+maxJSON {
		return // texts that are all escapes: the rest of the ring is worth more
	}
	if b.at+len(b.buf) > len(b.data) {
		b.at = recordAt
	}
	b.store(b.at, b.buf)
	b.at += padded(len(b.buf))
}

// Pulse records what the peer does now. Time and Turn are set unless they are.
func (b *Box) Pulse(g Gauge) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if g.Time == 0 {
		g.Time = time.Now().UnixNano()
	}
	if g.Turn == 0 {
		g.Turn = b.gauge.Turn + 1
	}
	g.Phase = shorten(g.Phase, 32)
	b.gauge = g
	b.buf = g.appendTo(b.buf[:0])
	b.store(gaugeAt+int(g.Turn%2)*gaugeTo, b.buf)
}

// store writes into the box.
func (b *Box) store(at int, p []byte) {
	defer b.survive(debug.SetPanicOnFault(true))
	copy(b.data[at:], p)
}

// survive is deferred where the file is touched. That somebody has made it shorter
// is no reason to end a training run.
func (b *Box) survive(was bool) {
	debug.SetPanicOnFault(was)
	e := recover()
	if e == nil {
		return
	}
	if _, fault := e.(interface{ Addr() uintptr }); !fault {
		panic(e)
	}
	b.data, b.mapped = make([]byte, Size), false
}

// Since returns the events after one, as far as they are recent, and the gauge.
func (b *Box) Since(seq uint64) ([]Event, Gauge) {
	if b == nil {
		return nil, Gauge{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	i := len(b.last)
	for i > 0 && b.last[i-1].Seq > seq {
		i--
	}
	return append([]Event(nil), b.last[i:]...), b.gauge
}

// Last returns the number of the newest event, 0 if there is none.
func (b *Box) Last() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seq
}

// Bytes returns a copy of the whole box.
func (b *Box) Bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.copied()
}

func (b *Box) copied() []byte {
	defer b.survive(debug.SetPanicOnFault(true))
	return append([]byte(nil), b.data...)
}

// Close lets go of the file, which stays.
func (b *Box) Close() error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.mapped {
		return nil
	}
	data := b.data
	b.data, b.mapped = b.copied(), false
	return unmap(data)
}
