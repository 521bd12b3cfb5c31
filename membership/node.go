package membership

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	tickTime     = 25 * time.Millisecond
	probeTimeout = 300 * time.Millisecond
	lapseTime    = 250 * time.Millisecond // without ticks: the others may have given us up meanwhile
	mailbox      = 1024                   // messages that wait for the node; more are lost, as on the way
	signalbox    = 256
)

// A Node is this peer in the group: it learns views and carries signals. One
// goroutine owns the agreement; the others send to it.
type Node struct {
	cfg    Config
	gossip *gossip
	log    *zap.Logger

	policy  policy
	paused  bool      // run's: it has been said
	cut     pause     // run's
	ticked  time.Time // run's
	notices *noticer
	mail    chan message
	asks    chan func(*agreement)
	signals chan message
	quit    chan struct{} // closed by Close
	once    sync.Once
	running sync.WaitGroup
	stop    context.CancelFunc // ends probes

	mu      sync.Mutex // guards the fields below
	view    View
	newest  View  // the same, or one without this peer
	err     error // no view will follow
	changed chan struct{}
}

// Start joins the gossip group, or founds one, and returns when gossip is up.
// The peer may still have to wait for a view (Next).
func Start(ctx context.Context, cfg Config) (*Node, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	policy, err := parsePolicy(cfg.OnPartition)
	if err != nil {
		return nil, err // validate has seen to that
	}
	n := &Node{
		cfg: cfg, policy: policy, notices: newNoticer(cfg.Notice), log: cfg.Logger.With(zap.String("peer", cfg.ID)),
		mail:    make(chan message, mailbox),
		asks:    make(chan func(*agreement)),
		signals: make(chan message, signalbox),
		quit:    make(chan struct{}),
		changed: make(chan struct{}),
	}
	if n.gossip, err = startGossip(ctx, cfg, n.deliver); err != nil {
		return nil, err
	}
	self := Peer{ID: cfg.ID, Addr: n.gossip.addr(), Meta: cfg.Meta, Witness: cfg.Witness}
	a := newAgreement(self, n.gossip.founded(), policy.prefer, cfg.Expect, int(cfg.ExpectTimeout/tickTime))
	a.near = cfg.Near
	if n.gossip.founded() {
		a.view.Limit = cfg.Limit
	}
	probes, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.running.Add(1)
	go n.run(probes, a)
	return n, nil
}

// ID returns this peer's ID.
func (n *Node) ID() string { return n.cfg.ID }

// Run returns the name of the run.
func (n *Node) Run() string { return n.cfg.Run }

// Addr returns the address at which others reach this peer's gossip; it is what
// they put into Config.Join.
func (n *Node) Addr() string { return n.gossip.addr() }

// deliver takes a message from the network; gossip calls it and cannot wait.
func (n *Node) deliver(b []byte) {
	m, err := decode(b)
	if err != nil {
		n.log.Debug("dropped", zap.Error(err))
		return
	}
	box := n.mail
	if m.Kind == kindSignal {
		box = n.signals
	}
	select {
	case box <- m:
	default:
		n.log.Debug("mailbox full, message dropped", zap.String("kind", string(m.Kind)), zap.String("from", m.From))
	}
}

// run owns the agreement until Close.
func (n *Node) run(probes context.Context, a *agreement) {
	defer n.running.Done()
	tick := time.NewTicker(tickTime)
	defer tick.Stop()
	p := &prober{node: n, ctx: probes, busy: ids{}, found: make(chan death, 16)}
	at := &porter{node: n, ctx: probes, busy: ids{}, vouched: make(map[string]vouch), found: make(chan caller)}
	w := &waiting{node: n, ctx: probes, began: time.Now(), found: make(chan bool)}
	n.ticked = w.began
	for {
		select {
		case m := <-n.mail:
			if m.Kind == kindJoin {
				at.take(a, m)
			} else {
				a.step(m)
			}
		case c := <-at.found:
			at.saw(a, c)
		case <-tick.C:
			if d := elapsed(n.ticked); d > lapseTime {
				a.lapse(int(d / tickTime))
			}
			n.ticked = time.Now()
			a.setContacts(n.contacts(a))
			a.tick()
			p.probe(a.suspects())
			w.tick(a)
			n.giveUp(a)
			n.cut.look(n, a)
		case d := <-p.found:
			delete(p.busy, d.id)
			if d.dead {
				a.setDead(d.id)
			}
		case somebody := <-w.found:
			w.saw(a, somebody)
		case f := <-n.asks:
			f(a)
			p.probe(a.suspects())
		case <-n.quit:
			n.flush(a, p)
			return
		}
		n.flush(a, p)
	}
}

// elapsed returns the time since t, also if the machine has slept meanwhile.
func elapsed(t time.Time) time.Duration {
	return max(time.Since(t), time.Now().Round(0).Sub(t.Round(0)))
}

// flush does all the I/O that the agreement asks for.
func (n *Node) flush(a *agreement, p *prober) {
	n.notices.look(a) // what leads to a view goes with it
	out, v, decided := a.ready()
	n.notices.look(a)
	for _, m := range out {
		n.gossip.send(m.dest, m.encode())
	}
	if a.foreign != "" {
		n.log.Error("another group answers to the same run and secret; the two do not merge",
			zap.String("ours", a.view.Group), zap.String("theirs", a.foreign))
		a.foreign = ""
	}
	if decided {
		n.gossip.transport.grouped.Store(true)
		n.publish(v, n.settleIn(v))
		p.hold(v)
		n.cut.look(n, a)
	}
	if n.cfg.Witness && a.view.Epoch > 0 && a.allLeave() {
		n.publish(View{}, errEnded)
	}
	if paused := a.bereft >= 0 && a.cutOff; paused != n.paused {
		n.paused = paused
		if paused {
			n.log.Warn("most of the view are dead, and this peer was cut off for a while: the others may have gone on, so it waits for word from them",
				zap.Uint64("epoch", a.view.Epoch))
		}
	}
	if a.end != nil && !a.finished {
		n.publish(View{}, &EndedError{*a.end})
	}
	if a.resend == 0 && n.leftOut(a) {
		n.mu.Lock()
		n.newest = v
		n.mu.Unlock()
		n.publish(View{}, fmt.Errorf("%w: view %d has %d peers without %s", ErrExcluded, v.Epoch, len(v.Peers), n.cfg.ID))
	}
}

// contacts returns whom to ask while we are not in a view, or have lost most of
// it.
func (n *Node) contacts(a *agreement) []string {
	if a.view.Epoch > 0 && a.bereft < 0 {
		return nil
	}
	addrs := append(n.gossip.members(), n.cfg.Join...)
	slices.Sort(addrs)
	return slices.Compact(addrs)
}

// giveUp ends the pause of a peer that nobody answers. Those who could have are
// dead, or are newcomers that it does not know.
func (n *Node) giveUp(a *agreement) {
	if a.stranded(int(n.cfg.JoinTimeout / tickTime)) {
		n.publish(View{}, fmt.Errorf("%w: most of view %d are dead, and may have gone on without %s before: nobody has answered for %v",
			ErrStranded, a.view.Epoch, n.cfg.ID, n.cfg.JoinTimeout))
	}
}

func (n *Node) publish(v View, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err != nil {
		return
	}
	if err == nil {
		n.view, n.newest = v, v
	}
	n.err = err
	close(n.changed)
	n.changed = make(chan struct{})
}

// Others returns the addresses of all who are likely to be in the group, or to
// know it: the peers of the newest view that this peer has heard of, with it or
// without; those that gossip thinks alive; and those through which it joined.
// A peer that was excluded joins again through them.
func (n *Node) Others() []string {
	n.mu.Lock()
	v := n.newest
	n.mu.Unlock()
	var addrs []string
	for _, p := range v.members() {
		addrs = append(addrs, p.Addr)
	}
	addrs = slices.Concat(addrs, n.gossip.members(), n.cfg.Join)
	slices.Sort(addrs)
	addrs = slices.Compact(addrs)
	return slices.DeleteFunc(addrs, func(a string) bool { return a == n.Addr() })
}

// Next waits for a view that has this peer in it and an epoch above after, and
// returns the newest. It fails with ErrExcluded when the group went on without
// this peer, with ErrClosed after Close, or when the group did not let it in
// within Config.JoinTimeout.
func (n *Node) Next(ctx context.Context, after uint64) (View, error) {
	for {
		n.mu.Lock()
		v, err, changed := n.view, n.err, n.changed
		n.mu.Unlock()
		if err != nil {
			return View{}, err
		}
		if v.Epoch > after {
			return v, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return View{}, context.Cause(ctx)
		}
	}
}

// Renew says that an epoch is of no more use: the members choose the next view.
// It is idempotent, and does nothing if there is a later view already.
func (n *Node) Renew(epoch uint64) {
	n.ask(func(a *agreement) { a.renew(epoch) })
}

// Prefer says in which order peers should stand in the views to come, by ID; those
// that are not in it follow, and Config.Near still holds. All members should give
// the same order, because any of them may propose the next view.
func (n *Node) Prefer(order []string) {
	order = slices.Clone(order)
	n.ask(func(a *agreement) { a.order = order })
}

// Confirm says that an epoch works: its ring has just carried a collective of all
// members, so they have not gone on without this peer.
func (n *Node) Confirm(epoch uint64) {
	n.ask(func(a *agreement) { a.confirm(epoch) })
}

// ask runs f where the agreement lives. It reports false after Close.
func (n *Node) ask(f func(*agreement)) bool {
	select {
	case n.asks <- f:
		return true
	case <-n.quit:
		return false
	}
}

// Leave tells the members to go on without this peer, waits until they have
// agreed to, all leave as well, or ctx ends, and closes the node.
func (n *Node) Leave(ctx context.Context) error {
	defer n.Close()
	n.ask((*agreement).leave)
	tick := time.NewTicker(tickTime)
	defer tick.Stop()
	for {
		gone := make(chan bool, 1)
		if !n.ask(func(a *agreement) { gone <- n.leftOut(a) || a.view.Epoch == 0 || a.allLeave() }) || <-gone {
			n.gossip.leave(probeTimeout)
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("membership: leave: %w", context.Cause(ctx))
		}
	}
}

// Close ends the node at once and without a word; the others will prove that its
// port is closed.
func (n *Node) Close() error {
	n.once.Do(func() {
		n.publish(View{}, ErrClosed)
		close(n.quit)
		n.stop()
	})
	n.running.Wait()
	return n.gossip.close()
}
