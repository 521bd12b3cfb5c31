package elastic

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/zeebo/xxh3"
)

// A saved state is cut into pieces, so that it can come from several peers at a
// time, each piece be checked when it arrives, and what is here be kept when
// whoever sent it dies.
const pieceBytes = 1 << 20

// maxPieces bounds the memory that a manifest takes: states up to 1 TiB.
const maxPieces = 1 << 20

// A manifest says what a saved state consists of. Two states are the same if
// their manifests have the same sum.
type manifest struct {
	bytes  int64
	hashes []uint64 // xxHash3 of each piece
}

// piecesIn returns how many pieces a state has.
func piecesIn(bytes int64) int {
	n := bytes / pieceBytes
	if bytes%pieceBytes > 0 {
		n++
	}
	return int(n)
}

// size returns the bytes in a piece: only the last one is shorter.
func (m manifest) size(piece int) int {
	return int(min(m.bytes-int64(piece)*pieceBytes, pieceBytes))
}

// encode returns the hashes as they travel.
func (m manifest) encode() []byte {
	b := make([]byte, 0, 8*len(m.hashes)+8)
	for _, h := range m.hashes {
		b = binary.LittleEndian.AppendUint64(b, h)
	}
	return b
}

// sum names the state.
func (m manifest) sum() uint64 {
	return xxh3.Hash(binary.LittleEndian.AppendUint64(m.encode(), uint64(m.bytes)))
}

// parseManifest is the inverse of encode, for a state of so many bytes.
func parseManifest(b []byte, bytes int64, sum uint64) (manifest, error) {
	m := manifest{bytes: bytes}
	for ; len(b) >= 8; b = b[8:] {
		m.hashes = append(m.hashes, binary.LittleEndian.Uint64(b))
	}
	if len(b) > 0 || bytes < 0 || len(m.hashes) != piecesIn(bytes) {
		return manifest{}, fmt.Errorf("elastic: %d hashes and %d bytes describe a state of %d bytes, which has %d pieces", len(m.hashes), len(b), bytes, piecesIn(bytes))
	}
	if got := m.sum(); got != sum {
		return manifest{}, fmt.Errorf("elastic: the description of a state arrived with sum %#x, want %#x", got, sum)
	}
	return m, nil
}

// A cutter cuts what is written to it into pieces. It keeps one in memory, and
// gives it away if somebody wants it.
type cutter struct {
	m    manifest
	take func(piece int, hash uint64, b []byte) bool // may keep b if it returns true; may be nil
	buf  []byte

	spare [][]byte // memory to use first
}

func (c *cutter) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		if c.buf == nil {
			c.buf = c.memory()
		}
		k := min(len(b), pieceBytes-len(c.buf))
		c.buf = append(c.buf, b[:k]...)
		if b = b[k:]; len(c.buf) == pieceBytes {
			c.cut()
		}
	}
	return n, nil
}

func (c *cutter) memory() []byte {
	if n := len(c.spare); n > 0 {
		b := c.spare[n-1]
		c.spare = c.spare[:n-1]
		return b[:0]
	}
	return make([]byte, 0, pieceBytes)
}

func (c *cutter) cut() {
	h := xxh3.Hash(c.buf)
	i := len(c.m.hashes)
	c.m.hashes = append(c.m.hashes, h)
	c.m.bytes += int64(len(c.buf))
	if c.take != nil && c.take(i, h, c.buf) {
		c.buf = nil
		return
	}
	c.buf = c.buf[:0]
}

// close ends the last piece.
func (c *cutter) close() manifest {
	if len(c.buf) > 0 {
		c.cut()
	}
	c.buf = nil
	return c.m
}

// survey saves the state of this peer and describes it.
func (g *Group) survey(take func(piece int, hash uint64, b []byte) bool) (manifest, error) {
	c := cutter{take: take}
	if err := g.save(&c); err != nil {
		return manifest{}, err
	}
	return c.close(), nil
}

// A shelf holds the pieces of a state while others fetch them, each from when it
// is there: a peer that saves a large state need not make them wait for the end.
type shelf struct {
	mu     sync.Mutex // guards pieces and more
	pieces [][]byte
	more   chan struct{} // closed and replaced when a piece comes
}

func newShelf(pieces int) *shelf {
	return &shelf{pieces: make([][]byte, pieces), more: make(chan struct{})}
}

// put adds a piece. One that does not belong here is not kept.
func (s *shelf) put(i int, _ uint64, b []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i >= len(s.pieces) {
		return false
	}
	s.pieces[i] = b
	close(s.more)
	s.more = make(chan struct{})
	return true
}

// get waits for a piece.
func (s *shelf) get(ctx context.Context, i int) ([]byte, error) {
	for {
		s.mu.Lock()
		b, more := s.pieces[i], s.more
		s.mu.Unlock()
		if b != nil {
			return b, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// A partial is a state of which some pieces are here. It outlives generations:
// what has arrived need not arrive again.
type partial struct {
	manifest
	pieces  [][]byte // nil: missing
	missing int
}

func newPartial(m manifest) *partial {
	return &partial{manifest: m, pieces: make([][]byte, len(m.hashes)), missing: len(m.hashes)}
}

// accept takes a piece if it is the right one, and keeps it.
func (p *partial) accept(i int, b []byte) error {
	if len(b) != p.size(i) || xxh3.Hash(b) != p.hashes[i] {
		return fmt.Errorf("elastic: piece %d of %d, of %d bytes, is damaged", i, len(p.pieces), len(b))
	}
	p.keep(i, b)
	return nil
}

func (p *partial) keep(i int, b []byte) {
	if p.pieces[i] == nil {
		p.pieces[i] = b
		p.missing--
	}
}

// salvage takes over the pieces of another state that are the same.
func (p *partial) salvage(old *partial) {
	for i, b := range old.pieces {
		if b != nil && i < len(p.hashes) && p.hashes[i] == old.hashes[i] && len(b) == p.size(i) {
			p.keep(i, b)
		}
	}
}

// lacks returns one bit for each piece that is missing.
func (p *partial) lacks() []byte {
	b := make([]byte, (len(p.pieces)+7)/8)
	for i, piece := range p.pieces {
		if piece == nil {
			b[i/8] |= 1 << (i % 8)
		}
	}
	return b
}

// reader reads a complete state, and lets go of each piece that has been read.
func (p *partial) reader() io.Reader {
	rs := make([]io.Reader, len(p.pieces))
	for i, b := range p.pieces {
		rs[i] = bytes.NewReader(b)
	}
	p.pieces = nil
	return io.MultiReader(rs...)
}
