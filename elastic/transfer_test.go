package elastic

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/ringrun/ringrun/ring"
)

const bulkPieces = 12 // and a little

// bulk is a model of which a large part is never trained, but is random at the
// start, so that a newcomer lacks it.
type bulk struct {
	*counter
	ballast []byte
}

func newBulk(p *peer, seed uint64) *bulk {
	b := &bulk{&p.model, make([]byte, bulkPieces*pieceBytes)}
	rng := rand.NewChaCha8([32]byte{byte(seed)})
	rng.Read(b.ballast)
	return b
}

func (b *bulk) Save(w io.Writer) error {
	if _, err := w.Write(b.ballast); err != nil {
		return err
	}
	return b.counter.Save(w)
}

func (b *bulk) Load(r io.Reader) error {
	if _, err := io.ReadFull(r, b.ballast); err != nil {
		return err
	}
	return b.counter.Load(r)
}

// A depot is a cluster of peers that hold a bulky state, and counts the pieces
// that they give to a newcomer.
type depot struct {
	*cluster
	mu    sync.Mutex // guards given
	given map[string]int
	all   chan struct{} // closed when three peers have given something
	late  *peer
	bulks map[*peer]*bulk
}

func newDepot(t *testing.T) *depot {
	d := &depot{cluster: newCluster(t, someSamples), given: map[string]int{}, all: make(chan struct{}), bulks: map[*peer]*bulk{}}
	d.tap = &tap{}
	d.state = func(p *peer) State {
		seed := uint64(0)
		if p.id == "p3-0" {
			seed = 1
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.bulks[p] == nil {
			d.bulks[p] = newBulk(p, seed)
		}
		return d.bulks[p]
	}
	return d
}

// gave counts a frame, and returns how many pieces its sender has begun to give.
func (d *depot) gave(p *peer, e ring.Edge, h ring.Header) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e.Lane == stateLane && h.Op == opGive && h.Offset == 0 {
		if d.given[p.id]++; len(d.given) == 3 && d.given[p.id] == 1 {
			close(d.all)
		}
	}
	return d.given[p.id]
}

func (d *depot) total() int {
	n := 0
	for _, k := range d.given {
		n += k
	}
	return n
}

// runLate lets three peers train, and a fourth join them in the middle.
func (d *depot) runLate() {
	d.t.Helper()
	started, there := make(chan struct{}), make(chan struct{})
	var once, twice sync.Once
	d.heard = func(p *peer, e event) {
		if p.id == "p3-0" && (e.Event == "view" || e.Event == "failed") {
			twice.Do(func() { close(there) })
		}
	}
	d.at = func(p *peer, s Shard) error {
		if s.Step == 5 {
			once.Do(func() { close(started) })
		}
		if s.Step == 9 && p.id == "p0-0" {
			<-there // so that it does not come too late
		}
		return nil
	}
	for range 3 {
		d.start(3)
	}
	<-started
	d.late = d.start(3)
	d.wait()
	d.tap.ends.Wait()
}

// equal checks that everybody has the founder's ballast.
func (d *depot) equal(killed ...*peer) {
	d.t.Helper()
	d.check(killed...)
	if string(d.bulks[d.late].ballast) != string(d.bulks[d.peers[0]].ballast) {
		d.t.Error("the newcomer has another state")
	}
}

// A newcomer gets its state from all peers at once, and hardly a piece twice.
func TestStateFromAll(t *testing.T) {
	d := newDepot(t)
	d.tap.see = func(p *peer, e ring.Edge, h ring.Header, _ []byte) error {
		if d.gave(p, e, h) > 2 && e.Lane == stateLane { // the quickest waits for the others
			select {
			case <-d.all:
			case <-d.ctx.Done():
			}
		}
		return nil
	}
	d.runLate()
	d.equal()
	if len(d.given) != 3 || d.total() < bulkPieces || d.total() > bulkPieces+1+3*asksAhead {
		t.Errorf("pieces given: %v; want some from each of three, %d together and a few twice", d.given, bulkPieces+1)
	}
}

// A donor dies in the middle of a piece. What the newcomer has it keeps, and gets
// the rest from the others.
func TestDonorDies(t *testing.T) {
	for _, last := range []int{1, 3} {
		t.Run(fmt.Sprintf("piece=%d", last), func(t *testing.T) {
			d := newDepot(t)
			d.tap.see = func(p *peer, e ring.Edge, h ring.Header, _ []byte) error {
				if k := d.gave(p, e, h); p.id == "p1-0" && k == last && h.Op == opGive && h.Offset > 0 {
					return d.tap.kill(p)
				}
				return nil
			}
			d.runLate()
			d.equal(d.peers[1])
			t.Log("pieces given:", d.given)
			if most := bulkPieces + 1 + 3*2*asksAhead; d.total() > most {
				t.Errorf("pieces given: %v, want at most %d: what was there need not come again", d.given, most)
			}
		})
	}
}

// The newcomer dies while it is given the state; the others go on.
func TestNewcomerDies(t *testing.T) {
	d := newDepot(t)
	d.tap.see = func(p *peer, e ring.Edge, h ring.Header, _ []byte) error {
		if p.id == "p3-0" && e.Lane == stateLane && h.Seq == 5 {
			return d.tap.kill(p)
		}
		return nil
	}
	d.runLate()
	d.check(d.late)
}

// One donor's pieces arrive damaged: the others' are enough.
func TestDamagedPieces(t *testing.T) {
	d := newDepot(t)
	d.tap.see = func(p *peer, e ring.Edge, h ring.Header, body []byte) error {
		if e.Lane == stateLane && h.Op == opGive && p.id == "p2-0" {
			body[len(body)/2] ^= 1
		}
		d.gave(p, e, h)
		return nil
	}
	d.runLate()
	d.equal()
	if d.given["p2-0"] == 0 || d.given["p2-0"] > asksAhead {
		t.Errorf("pieces given: %v; want p2 to be asked no more after its first", d.given)
	}
}

// No direct link can be opened: the state goes round the ring.
func TestNoDirectLinks(t *testing.T) {
	d := newDepot(t)
	d.tap.meet = func(p *peer, e ring.Edge) error {
		if e.Lane == stateLane && p.id == "p3-0" {
			return errors.New("no way, says the test")
		}
		return nil
	}
	d.tap.see = func(p *peer, e ring.Edge, h ring.Header, _ []byte) error { d.gave(p, e, h); return nil }
	d.runLate()
	d.equal()
	if d.total() != 0 {
		t.Errorf("pieces given: %v, want none", d.given)
	}
}

// Two of three newcomers lack a state that one peer has: it sends it once, round
// the ring. That is also so at the start, if all begin differently.
func TestStateRoundTheRing(t *testing.T) {
	d := newDepot(t)
	d.state = func(p *peer) State {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.bulks[p] == nil {
			d.bulks[p] = newBulk(p, uint64(p.id[1]))
		}
		return d.bulks[p]
	}
	d.tap.see = func(p *peer, e ring.Edge, h ring.Header, _ []byte) error { d.gave(p, e, h); return nil }
	for range 3 {
		d.late = d.start(3)
	}
	d.equal()
	if d.total() != 0 {
		t.Errorf("pieces given: %v, want none", d.given)
	}
}

// Parts of the state that the newcomer has already do not travel.
func TestEqualPartsStay(t *testing.T) {
	d := newDepot(t)
	d.state = func(p *peer) State {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.bulks[p] == nil {
			d.bulks[p] = newBulk(p, 0)
		}
		return d.bulks[p]
	}
	d.tap.see = func(p *peer, e ring.Edge, h ring.Header, _ []byte) error { d.gave(p, e, h); return nil }
	d.runLate()
	d.equal()
	if d.total() < 2 || d.total() > 6 {
		t.Errorf("pieces given: %v; want the first and the last, which have changed, maybe from two each", d.given)
	}
}
