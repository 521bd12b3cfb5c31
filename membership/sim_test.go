package membership

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

var (
	simSeeds = flag.Int("seeds", 300, "number of seeds that the simulation runs")
	simSeed  = flag.Uint64("seed", 0, "the only seed that the simulation runs, with a log")
)

const (
	stormTicks = 400  // with faults
	calmTicks  = 1500 // afterwards, until all must have agreed
	crowd      = 8    // peers at a time
	lapseTicks = int(lapseTime / tickTime)
)

// TestSimulation lets groups live through crashes, cuts, stops, joins, leaves and
// false suspicion on a bad network, each seed another story. What must hold is
// checked at each event (world.note), and at the end of a calm time (settled).
func TestSimulation(t *testing.T) {
	seeds := make([]uint64, *simSeeds)
	for i := range seeds {
		seeds[i] = uint64(i + 1)
	}
	if *simSeed != 0 {
		seeds = []uint64{*simSeed}
	}
	var sum tally
	for _, seed := range seeds {
		got, err := simulate(seed, plant{}, t.Logf)
		if err != nil {
			t.Fatalf("seed %d: %v (run it with -seed %d)", seed, err, seed)
		}
		sum.add(got)
	}
	t.Logf("%d seeds: %+v", len(seeds), sum)
	if sum.Views == 0 || sum.Stepped == 0 || sum.Healthy == 0 && len(seeds) > 1 {
		t.Errorf("nothing happened: %+v", sum)
	}
}

// TestPlantedFaults breaks the protocol on purpose, and sees the simulation find it.
func TestPlantedFaults(t *testing.T) {
	const enough = 3000
	for _, p := range plants {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= enough; seed++ {
				sum, err := simulate(seed, p, nil)
				if err != nil || sum.Forks > 0 {
					t.Logf("found by seed %d: %v, %+v", seed, err, sum)
					return
				}
			}
			t.Errorf("not found by %d seeds", enough)
		})
	}
}

// plants are the faults that the simulation finds; others have a script of their
// own (agreement_test.go).
var plants = []plant{
	{name: "majority of those not proven dead", quorum: majorityOfLiving},
	{name: "all that are not proven dead, however few", quorum: allLiving},
	{name: "half is enough", quorum: func(v View, dead, have ids) bool {
		members, _, missing := count(v, dead, have)
		return 2*members >= len(v.Peers) || missing == 0
	}},
	{name: "acceptor forgets its promise", step: func(a *agreement, m *message) {
		if m.Kind == kindPrepare || m.Kind == kindAccept {
			a.promised = ballot{}
		}
	}},
	{name: "acceptor accepts lower ballots", step: func(a *agreement, m *message) {
		if m.Kind == kindAccept && m.Ballot.less(a.promised) {
			a.promised = m.Ballot
		}
	}},
	{name: "proposer ignores accepted values", step: func(_ *agreement, m *message) {
		if m.Kind == kindPromise {
			m.View, m.Accepted = nil, ballot{}
		}
	}, ready: func(a *agreement) {
		if p := a.proposal; p != nil && p.view == nil {
			mine := p.promises[a.self.ID]
			mine.View, mine.Accepted = nil, ballot{}
			p.promises[a.self.ID] = mine
		}
	}},
	{name: "either half is enough where somebody is preferred", quorum: func(v View, dead, have ids) bool {
		members, _, _ := count(v, dead, have)
		return quorum(v, dead, have) || v.preferred() != "" && 2*members == len(v.members())
	}},
	{name: "half may go on when the preferred one is dead", prefer: true, quorum: func(v View, dead, have ids) bool {
		_, survivors, missing := count(v, dead, have)
		return quorum(v, dead, have) || missing == 0 && 2*survivors == len(v.members())
	}},
	{name: "silence is proof of death", liar: true},
	{name: "last stand at once, cut off or not", ready: func(a *agreement) {
		a.cutOff, a.doubtAt = false, -1
		if a.bereft > hearken {
			a.bereft = min(a.bereft, a.now-hearken)
		}
	}},
}

// majorityOfLiving is the rule that quorum warns of first.
func majorityOfLiving(v View, dead, have ids) bool {
	members, living := 0, 0
	for _, p := range v.Peers {
		if !dead[p.ID] {
			living++
			if have[p.ID] {
				members++
			}
		}
	}
	return 2*members > living
}

// allLiving is the other.
func allLiving(v View, dead, have ids) bool {
	members, survivors, missing := count(v, dead, have)
	return 2*members > len(v.Peers) || survivors > 0 && missing == 0
}

// A tally counts what happened in a simulation.
type tally struct {
	Views, Stands, Forks, Paused, Extinct, Healthy, Stepped int
}

func (s *tally) add(o tally) {
	s.Views += o.Views
	s.Stands += o.Stands
	s.Forks += o.Forks
	s.Paused += o.Paused
	s.Extinct += o.Extinct
	s.Healthy += o.Healthy
	s.Stepped += o.Stepped
}

// A storm decides what happens to a world.
type storm struct {
	*world
	born   int
	chance float64 // of an event at each tick
	events []func()
}

// simulate runs one seed and returns the first thing that must not be.
func simulate(seed uint64, p plant, logf func(string, ...any)) (sum tally, err error) {
	w := newWorld(rand.New(rand.NewPCG(seed, 1)))
	w.plant = p
	w.saw = func(format string, args ...any) {
		if logf != nil && *simSeed != 0 {
			logf("%5d "+format, append([]any{w.now}, args...)...)
		}
	}
	type violation struct{ error }
	w.fail = func(format string, args ...any) {
		panic(violation{fmt.Errorf("tick %d: "+format, append([]any{w.now}, args...)...)})
	}
	defer func() {
		if r := recover(); r != nil {
			v, ok := r.(violation)
			if !ok {
				panic(r)
			}
			err = v.error
		}
	}()
	newStorm(w).run()
	sum = tally{Views: len(w.views), Stands: w.stands, Forks: min(w.forks, 1), Stepped: w.stepped}
	w.settled(&sum)
	return sum, nil
}

func newStorm(w *world) *storm {
	s := &storm{world: w, chance: 0.005 + 0.06*w.rng.Float64()}
	pick := func(of ...float64) float64 { return of[w.rng.IntN(len(of))] }
	w.net = weather{loss: pick(0, 0, 0.05, 0.25), repeat: pick(0, 0.1), late: pick(0, 0, 0.02), delay: int(pick(0, 0, 3, 12))}
	w.rough = w.net.loss > 0 || w.net.delay > 0
	all := []func(){s.birth, s.birth, s.birth, s.witness, s.jump, s.death, s.stopOne, s.goOn, s.goOn, s.split, s.cutOne, s.cutWay, s.mend, s.mend, s.suspect, s.suspect, s.goodbye, s.doom}
	for _, e := range all {
		if w.rng.IntN(3) > 0 {
			s.events = append(s.events, e)
		}
	}
	s.events = append(s.events, s.suspect)
	if w.rng.IntN(2) == 0 {
		w.net.crash = 0.001
	}
	n := 1 + w.rng.IntN(5)
	names := make([]string, n)
	for i := range names {
		names[i] = s.name()
	}
	if w.rng.IntN(3) == 0 || w.plant.prefer {
		w.prefer = names[w.rng.IntN(n)]
	}
	if w.rng.IntN(2) == 0 {
		w.group(names...)
		return s
	}
	p := w.add(Peer{ID: names[0], Addr: names[0]}, true, n)
	w.flush(p)
	for _, name := range names[1:] {
		w.join(name)
	}
	return s
}

// name returns a new name; the order of names is not that of births.
func (s *storm) name() string {
	s.born++
	return fmt.Sprintf("%c%d", 'a'+rune(s.rng.IntN(20)), s.born)
}

func (s *storm) run() {
	for range stormTicks {
		if s.world.chance(s.chance) {
			s.events[s.rng.IntN(len(s.events))]()
		}
		s.step()
	}
	s.net = weather{}
	for i := range s.queue {
		s.queue[i].due = min(s.queue[i].due, s.now+3)
	}
	s.heal()
	for _, name := range s.names {
		s.resume(s.peers[name])
	}
	for range calmTicks {
		s.step()
		if s.now%50 == 0 && s.agreed() {
			return
		}
	}
}

// one returns a random peer that is alive, or nil.
func (s *storm) one() *actor {
	var of []*actor
	for _, name := range s.names {
		if p := s.peers[name]; !p.dead && !p.out {
			of = append(of, p)
		}
	}
	if len(of) == 0 {
		return nil
	}
	return of[s.rng.IntN(len(of))]
}

func (s *storm) birth() {
	living := 0
	for _, p := range s.peers {
		if !p.dead {
			living++
		}
	}
	if living < crowd {
		s.join(s.name())
		s.saw("%s is born", s.names[len(s.names)-1])
	}
}

// witness lets a voter without a model join.
func (s *storm) witness() {
	if len(s.awake()) < crowd {
		s.born++
		s.join(fmt.Sprintf("w%d", s.born))
		s.saw("w%d is born", s.born)
	}
}

// jump lets the clock of a peer go forward: its machine slept.
func (s *storm) jump() {
	if p := s.one(); p != nil && !p.stopped {
		s.saw("the clock of %s jumps", p.name)
		p.a.lapse(lapseTicks + s.rng.IntN(200))
		p.troubled, s.calm = true, s.now
		s.flush(p)
	}
}

func (s *storm) death() {
	many := 1
	if s.rng.IntN(4) == 0 {
		many = 1 + s.rng.IntN(4) // at once
	}
	for range many {
		if p := s.one(); p != nil {
			s.saw("%s dies", p.name)
			s.kill(p)
		}
	}
}

// doom kills all whom a peer knows that was stopped or cut off: it may be the
// last of its view, or a ghost whom newcomers have replaced.
func (s *storm) doom() {
	p := s.one()
	if p == nil || !p.troubled {
		return
	}
	s.saw("all die whom %s knows", p.name)
	for _, m := range p.seen.members() {
		if m.ID != p.name {
			s.kill(s.peers[m.ID])
		}
	}
}

func (s *storm) stopOne() {
	if p := s.one(); p != nil {
		s.saw("%s is stopped", p.name)
		s.stop(p)
	}
}

func (s *storm) goOn() {
	if p := s.one(); p != nil && p.stopped {
		s.saw("%s goes on", p.name)
		s.resume(p)
	}
}

// split cuts the peers in two.
func (s *storm) split() {
	side := map[string]bool{}
	for _, name := range s.names {
		side[name] = s.rng.IntN(2) == 0
	}
	for _, a := range s.names {
		for _, b := range s.names {
			if side[a] != side[b] {
				s.sever(a, b)
			}
		}
	}
	s.saw("split: %v", side)
}

func (s *storm) cutOne() {
	if a, b := s.one(), s.one(); a != b {
		s.saw("cut %s %s", a.name, b.name)
		s.sever(a.name, b.name)
		s.sever(b.name, a.name)
	}
}

func (s *storm) cutWay() {
	if a, b := s.one(), s.one(); a != b {
		s.saw("cut %s to %s", a.name, b.name)
		s.sever(a.name, b.name)
	}
}

func (s *storm) mend() {
	s.saw("all is connected")
	s.heal()
}

// suspect lets a peer ask for another view without a reason.
func (s *storm) suspect() {
	if p := s.one(); p != nil && !p.stopped {
		s.saw("%s suspects", p.name)
		p.a.renew(p.a.view.Epoch)
		s.flush(p)
	}
}

func (s *storm) goodbye() {
	if p := s.one(); p != nil && !p.stopped && !p.leaving {
		s.saw("%s leaves", p.name)
		p.leaving, p.until = true, s.now+200
		p.a.leave()
		s.flush(p)
	}
}

// members returns the peers that are in a view, and the newest view.
func (w *world) members() (in []*actor, newest View) {
	for _, name := range w.names {
		p := w.peers[name]
		if p.dead || p.out || p.a.view.Epoch == 0 {
			continue
		}
		in = append(in, p)
		if v := p.a.view; newest.Epoch == 0 || descends(v.Group, newest.Group) || v.Group == newest.Group && v.Epoch > newest.Epoch {
			newest = v
		}
	}
	return in, newest
}

// agreed reports whether there is one view, of all that live, and nobody waits.
func (w *world) agreed() bool { return w.settled(nil) == "" }

// settled checks the end of a story, and returns what is not as it should be.
// That is a failure, unless a group pauses because more than half of it died
// while the rest was cut off, or a last stand was made too early.
func (w *world) settled(sum *tally) string {
	in, newest := w.members()
	problem, paused := "", false
	for _, p := range in {
		if p.a.view.Epoch != newest.Epoch || p.a.view.Group != newest.Group {
			problem = fmt.Sprintf("%s has %v of %s, others %v of %s", p.name, show(p.a.view), p.a.view.Group, show(newest), newest.Group)
		}
		if p.leaving {
			problem = p.name + " could not leave"
		}
		paused = paused || p.a.bereft >= 0 && p.a.cutOff
	}
	trainers := 0
	for _, m := range newest.members() {
		if q := w.peers[m.ID]; !q.dead && !q.out && !m.Witness {
			trainers++
		}
		if w.peers[m.ID].dead {
			problem = fmt.Sprintf("%s is dead, and in %v", m.ID, show(newest))
		}
	}
	for _, p := range w.awake() {
		if len(in) > 0 && p.a.view.Epoch == 0 {
			problem = p.name + " waits to be let in"
		}
	}
	if sum == nil {
		return problem
	}
	switch {
	case len(in) == 0 || trainers == 0: // witnesses alone have nothing to go on with
		sum.Extinct++
	case problem == "":
		sum.Healthy++
	case paused && w.troubled():
		sum.Paused++
	case w.forks > 0:
	default:
		w.fail("after the calm: %s", problem)
	}
	return problem
}

// troubled reports whether anybody may have been silent for long.
func (w *world) troubled() bool {
	return w.rough || slices.ContainsFunc(w.names, func(name string) bool { return w.peers[name].troubled })
}

// TestSimulationRepeats runs a seed twice: a seed is of use only if it tells the
// same story again.
func TestSimulationRepeats(t *testing.T) {
	story := func() (out []string) {
		w := newWorld(rand.New(rand.NewPCG(7, 1)))
		w.saw = func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
		w.fail = t.Fatalf
		newStorm(w).run()
		return out
	}
	if a, b := story(), story(); !slices.Equal(a, b) {
		t.Errorf("two stories of one seed:\n%q\n%q", a, b)
	}
}
