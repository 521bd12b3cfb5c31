package membership

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// A world is a group of agreements with a network between them, for golden
// scripts (perfect, rng nil) and for the simulation (as bad as net says).
type world struct {
	rng    *rand.Rand
	net    weather
	rough  bool // the network loses or delays, or did
	plant  plant
	now    int
	names  []string // in order of birth
	peers  map[string]*actor
	queue  []packet
	cut    map[way]bool
	hold   map[way]bool
	held   []packet
	calm   int               // tick at which the last cut healed or the last stopped peer went on
	views  map[string]string // group and epoch → peers
	prefer string            // the policy of all
	limit  int               // of their views
	saw    func(format string, args ...any)
	fail   func(format string, args ...any)

	grace         int  // of all agreements
	fuse          int  // messages until a sender dies before it has sent one; 0: never
	doubled       bool // two rings stepped at once
	stepped       int  // ticks at which a ring could carry steps
	stands, forks int  // last stands, and those made while somebody alive had gone on
}

// weather says how bad the network and the machines are.
type weather struct {
	loss, repeat, crash float64
	late                float64 // share of the messages that come once more, long after
	delay               int
}

// A plant is a fault put into the protocol on purpose.
type plant struct {
	name   string
	quorum func(v View, dead, have ids) bool
	step   func(a *agreement, m *message) // before each message
	ready  func(a *agreement)             // before each ready
	liar   bool                           // silence is proof of death
	prefer bool                           // it shows only where somebody is preferred
}

// way is the direction from one peer to another.
type way struct{ from, to string }

type packet struct {
	due int
	to  string
	m   message
}

// An actor is one process: its agreement and what becomes of it.
type actor struct {
	name     string
	a        *agreement
	dead     bool
	stopped  bool
	slept    int  // ticks since it was stopped
	out      bool // excluded, and has noticed
	ended    bool // it has been told that the run is over
	leaving  bool
	troubled bool // was stopped or cut at some time
	until    int  // tick at which it ends; 0: open
	seen     View // the last that it adopted
	probes   map[string]int
	broken   int // ticks since its ring broke or failed to open
	patience int // ticks until it notices
}

func newWorld(rng *rand.Rand) *world {
	return &world{rng: rng, grace: grace, peers: map[string]*actor{}, cut: map[way]bool{}, hold: map[way]bool{}, views: map[string]string{}}
}

// n returns a random number below k, or perfect if the world is.
func (w *world) n(k, perfect int) int {
	if w.rng == nil {
		return perfect
	}
	return w.rng.IntN(k)
}

func (w *world) chance(p float64) bool { return w.rng != nil && p > 0 && w.rng.Float64() < p }

func (w *world) add(self Peer, found bool, expect int) *actor {
	name := self.ID
	a := newAgreement(self, found, w.prefer, expect, 200)
	a.grace = w.grace
	if w.plant.quorum != nil {
		a.quorum = w.plant.quorum
	}
	p := &actor{name: name, a: a, probes: map[string]int{}, patience: 40}
	w.names = append(w.names, name)
	w.peers[name] = p
	return p
}

// group adds peers that are in view 1 already.
func (w *world) group(names ...string) {
	v := View{Epoch: 1, Group: names[0], Prefer: w.prefer, Limit: w.limit}
	for _, name := range names {
		if p := actorPeer(name); p.Witness {
			v.Witnesses = append(v.Witnesses, p)
		} else {
			v.Peers = append(v.Peers, p)
		}
	}
	for _, p := range v.members() {
		p := w.add(p, false, 0)
		p.a.adopt(v, ballot{})
		p.a.ready()
		w.note(p, v)
	}
}

// actorPeer is the peer of a name; a witness's begins with "w".
func actorPeer(name string) Peer {
	return Peer{ID: name, Addr: name, Witness: strings.HasPrefix(name, "w")}
}

func (w *world) join(name string) { w.add(actorPeer(name), false, 0) }

// awake returns the peers that run, in order of birth.
func (w *world) awake() []*actor {
	var out []*actor
	for _, name := range w.names {
		if p := w.peers[name]; !p.dead && !p.stopped {
			out = append(out, p)
		}
	}
	return out
}

// reach reports whether two peers can exchange messages.
func (w *world) reach(a, b string) bool { return !w.cut[way{a, b}] && !w.cut[way{b, a}] }

// sever cuts one direction.
func (w *world) sever(from, to string) {
	w.cut[way{from, to}] = true
	w.peers[from].troubled, w.peers[to].troubled = true, true
}

func (w *world) heal() {
	clear(w.cut)
	clear(w.hold)
	w.queue, w.held = append(w.queue, w.held...), nil
	w.calm = w.now
}

func (w *world) stop(p *actor) { p.stopped, p.troubled = true, true }

// resume lets a stopped peer go on. What was sent to it is still in its sockets.
func (w *world) resume(p *actor) {
	if p.stopped {
		p.stopped, w.calm = false, w.now
		if p.slept > lapseTicks {
			p.a.lapse(p.slept)
		}
		p.slept = 0
	}
}

// post puts a message on its way.
func (w *world) post(from string, m message) {
	to := m.dest
	switch l := (way{from, to}); {
	case w.peers[to] == nil || w.cut[l]:
	case w.hold[l]:
		w.held = append(w.held, packet{w.now, to, m})
	default:
		for copies := 1; copies > 0; copies-- {
			if w.chance(w.net.repeat) && copies < 3 {
				copies++
			}
			if w.chance(w.net.late) {
				w.queue = append(w.queue, packet{w.now + 50 + w.n(300, 0), to, m})
			}
			if !w.chance(w.net.loss) {
				w.queue = append(w.queue, packet{w.now + w.n(w.net.delay+1, 0), to, m})
			}
		}
	}
}

// release delivers what was held so far.
func (w *world) release(from, to string) {
	w.held = slices.DeleteFunc(w.held, func(k packet) bool {
		if k.m.From != from || k.to != to {
			return false
		}
		k.due = w.now
		w.queue = append(w.queue, k)
		return true
	})
}

// step lets one tick pass for everybody.
func (w *world) step() {
	w.now++
	w.deliver()
	for _, name := range w.names {
		if p := w.peers[name]; p.stopped {
			p.slept++
		}
	}
	for _, p := range w.awake() {
		if p.dead {
			continue
		}
		w.live(p)
		w.deliver()
	}
	w.checkSteps()
}

// checkSteps looks for rings that carry steps, which takes all their peers: no
// two may at one time.
func (w *world) checkSteps() {
	var one View
	for _, p := range w.awake() {
		v := p.seen
		if v.Epoch == 0 || v.Peers[0].ID != p.name || p.out || !w.turns(v) {
			continue
		}
		w.stepped++
		if one.Epoch > 0 && w.forks == 0 && !w.doubled {
			w.doubled = true
			w.fail("two rings step at once: %v of %s and %v of %s", show(one), one.Group, show(v), v.Group)
		}
		one = v
	}
}

// turns reports whether all peers of a view live, follow it, and reach each other.
func (w *world) turns(v View) bool {
	for _, a := range v.Peers {
		p := w.peers[a.ID]
		if p.dead || p.stopped || p.out || p.seen.Epoch != v.Epoch || p.seen.Group != v.Group {
			return false
		}
		for _, b := range v.Peers {
			if !w.reach(a.ID, b.ID) {
				return false
			}
		}
	}
	return true
}

// deliver delivers what is due, in any order, and what that leads to.
func (w *world) deliver() {
	for {
		var due []int
		for i, k := range w.queue {
			if k.due <= w.now && !w.peers[k.to].stopped {
				due = append(due, i)
			}
		}
		if len(due) == 0 {
			return
		}
		i := due[w.n(len(due), 0)]
		k := w.queue[i]
		w.queue = slices.Delete(w.queue, i, i+1)
		if p := w.peers[k.to]; !p.dead {
			w.take(p, k.m)
		}
	}
}

func (w *world) take(p *actor, m message) {
	if w.plant.step != nil {
		w.plant.step(p.a, &m)
	}
	if err := m.validate(); err != nil {
		w.fail("%s gets what is not a message: %v", p.name, err)
	}
	p.a.step(m)
	w.flush(p)
}

// live is what a node does at a tick.
func (w *world) live(p *actor) {
	var contacts []string
	for _, name := range w.names {
		if q := w.peers[name]; q != p && !q.dead && !q.out {
			contacts = append(contacts, name)
		}
	}
	p.a.setContacts(contacts)
	p.a.tick()
	w.probe(p)
	w.train(p)
	w.flush(p)
	if p.leaving && (p.a.excluded || p.a.view.Epoch == 0 || p.a.allLeave()) || p.until > 0 && w.now >= p.until {
		w.kill(p)
	}
}

func (w *world) kill(p *actor) { p.dead, p.stopped = true, false }

// probe looks for proofs of death, which come late, but are true.
func (w *world) probe(p *actor) {
	suspects := p.a.suspects()
	if v := p.a.view; len(v.members()) > 1 && v.has(p.name) { // it holds on to the next one
		next := v.members()[(v.seat(p.name)+1)%len(v.members())]
		if w.peers[next.ID].dead {
			suspects = append(suspects, next)
		}
	}
	for _, s := range suspects {
		if _, busy := p.probes[s.ID]; !busy {
			p.probes[s.ID] = w.now + w.n(8, 0)
		}
	}
	for _, name := range w.names {
		due, busy := p.probes[name]
		if !busy || due > w.now {
			continue
		}
		delete(p.probes, name)
		q := w.peers[name]
		proof := q.dead && w.reach(p.name, name)
		if proof || w.plant.liar && (q.stopped || !w.reach(p.name, name)) {
			p.a.setDead(name)
			w.flush(p)
		}
	}
}

// train is the ring of this peer: it wants the next view when a neighbour is
// dead, and after a while when one is silent or not there.
func (w *world) train(p *actor) {
	v := p.a.view
	if p.out || p.dead || v.Epoch == 0 || v.Rank(p.name) < 0 {
		return
	}
	broken, lost := false, false
	for _, m := range v.Peers { // witnesses are not in the ring
		q := w.peers[m.ID]
		broken = broken || q.dead && w.reach(p.name, q.name)
		lost = lost || q.dead || q.stopped || !w.reach(p.name, q.name) || q.seen.Epoch != v.Epoch
	}
	switch {
	case !lost:
		p.broken = 0
		return
	case broken:
		p.broken = max(p.broken, p.patience-3)
	}
	if p.broken++; p.broken > p.patience {
		p.broken, p.patience = 0, 10+w.n(50, 30)
		p.a.renew(v.Epoch)
	}
}

// flush does what the agreement asks for. The peer may die at any message.
func (w *world) flush(p *actor) {
	if p.dead {
		return
	}
	if w.plant.ready != nil {
		w.plant.ready(p.a)
	}
	out, v, decided := p.a.ready()
	if decided {
		w.note(p, v)
	}
	if p.a.excluded && !p.out {
		p.out, p.until = true, w.now+1+w.n(30, 2)
		w.saw("%s: excluded by %v", p.name, show(v))
		w.checkExcluded(p)
	}
	if e := p.a.end; e != nil && !p.a.finished && !p.ended {
		p.ended, p.out, p.until = true, true, w.now+2
		w.saw("%s: the run has ended in view %d", p.name, e.Epoch)
	}
	dies := -1
	if len(out) > 0 && w.chance(w.net.crash) {
		dies = w.n(len(out)+1, 0)
	}
	for i, m := range out {
		if w.fuse--; w.fuse == 0 {
			dies = i
		}
		if i == dies {
			break
		}
		w.post(p.name, m)
	}
	if dies >= 0 {
		w.saw("%s dies", p.name)
		w.kill(p)
	}
}

func (w *world) checkExcluded(p *actor) {
	if !w.rough && !p.troubled && !p.leaving && w.forks == 0 {
		w.fail("%s was excluded, though healthy and connected all the time", p.name)
	}
}

// note checks what must hold whenever a peer adopts a view.
func (w *world) note(p *actor, v View) {
	w.saw("%s: %v", p.name, show(v))
	if !v.has(p.name) {
		w.fail("%s adopts a view without itself: %v", p.name, show(v))
	}
	if old := p.seen; v.Epoch <= old.Epoch || old.Group != "" && v.Group != old.Group && !descends(v.Group, old.Group) {
		w.fail("%s goes from %v of %s to %v of %s", p.name, show(old), old.Group, show(v), v.Group)
	}
	key := fmt.Sprintf("%s/%d", v.Group, v.Epoch)
	if old, known := w.views[key]; known && old != show(v) {
		w.fail("%s adopts %v, but others of group %s have %v", p.name, show(v), v.Group, old)
	} else if !known {
		w.views[key] = show(v)
		w.checkFork(p, v)
	}
	p.seen = v
}

// checkFork holds a new view against what others who live have: they may be
// behind it, but not in another group, nor beyond a last stand. Such a stand was
// made too early if nobody was cut off or stopped around it.
func (w *world) checkFork(p *actor, v View) {
	stand := v.Group != p.seen.Group && p.seen.Epoch > 0
	if stand {
		w.stands++
	}
	for _, name := range w.names {
		q := w.peers[name]
		if q.dead || q.out || q == p || q.seen.Epoch == 0 || !forked(v, q.seen) {
			continue
		}
		if w.stands == 0 || w.sound() {
			w.fail("two groups: %s adopts %v, %s has %v", p.name, show(v), name, show(q.seen))
		}
		w.forks++
	}
}

// sound reports whether the assumptions of a last stand hold: messages arrive
// within its time to listen, and nobody has just been cut off.
func (w *world) sound() bool {
	for _, p := range w.peers {
		if p.stopped {
			return false
		}
	}
	return !w.rough && len(w.cut) == 0 && (w.calm == 0 || w.now-w.calm > 4*hearken)
}

// forked reports whether neither view can come after the other.
func forked(v, u View) bool {
	if v.Group == u.Group {
		return false
	}
	if descends(u.Group, v.Group) {
		v, u = u, v
	}
	if !descends(v.Group, u.Group) {
		return true
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(v.Group, u.Group+"+"), "+")
	epoch, err := strconv.ParseUint(first, 10, 64)
	return err != nil || u.Epoch >= epoch
}

// show writes a view as "view 2 [a b c]", and its group after a last stand.
func show(v View) string {
	names := make([]string, len(v.Peers))
	for i, p := range v.Peers {
		names[i] = p.ID
	}
	for i, p := range v.Witnesses {
		if i == 0 {
			names = append(names, "|")
		}
		names = append(names, p.ID)
	}
	if strings.Contains(v.Group, "+") {
		return fmt.Sprintf("view %d %v of %s", v.Epoch, names, v.Group)
	}
	return fmt.Sprintf("view %d %v", v.Epoch, names)
}
