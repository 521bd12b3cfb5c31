package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	lookEvery  = 500 * time.Millisecond
	lookWait   = 250 * time.Millisecond // for answers, until the others are shown without
	lookDeep   = 3                      // those whom the answers name are asked at once, and those whom these name
	askTimeout = 900 * time.Millisecond
	lostAfter  = 1200 * time.Millisecond // without an answer
	goneFor    = 15 * time.Second        // peers that are gone are still shown
	maxAnswer  = 4 << 20                 // bytes
	maxKnown   = 256                     // addresses of peers
	maxEvents  = 500
	maxPoints  = 600
)

// A glance is what a peer answers; see elastic.Glance. The status goes on to the
// page as it is.
type glance struct {
	Now    int64           `json:"now"`
	Ended  bool            `json:"ended"`
	Last   uint64          `json:"last"`
	Raw    json.RawMessage `json:"status"`
	Events []event         `json:"events"`
	Points []point         `json:"points"`

	status status // Raw, as far as it matters here
}

type status struct {
	ID      string   `json:"id"`
	Epoch   uint64   `json:"epoch"`
	Peers   []member `json:"peers"`
	Phase   string   `json:"phase"`
	InPhase float64  `json:"in_phase"`
}

type member struct {
	ID   string `json:"id"`
	Addr string `json:"addr"`
}

type point struct {
	Time     int64               `json:"time"`
	Step     uint64              `json:"step"`
	Steps    float64             `json:"steps"`
	Samples  float64             `json:"samples"`
	Observed map[string]*float64 `json:"observed,omitempty"`
}

// A seen is one peer, as the watcher knows it.
type seen struct {
	addr   string
	since  time.Time // its address is known
	asking bool
	ok     time.Time // of the last answer; zero: there was none
	why    error     // why there was none since
	failed time.Time // of the first failure since
	last   glance
	events uint64 // number of the last one
}

// A watcher looks at all peers of a run while somebody looks at it.
type watcher struct {
	client *http.Client
	seeds  func() []string // where to ask when no peer is known

	mu       sync.Mutex // guards all below
	lookers  int
	stop     context.CancelFunc
	stopped  chan struct{}
	peers    map[string]*seen // by address
	view     status           // of the latest epoch that somebody told
	log      log
	points   []point // by the clock of this host
	newest   int64   // the last point, by the clock of the peer that told it
	teller   string  // the address of that
	snapshot *snapshot
	changed  chan struct{} // closed and replaced when there is another snapshot
}

func newWatcher(client *http.Client, seeds func() []string) *watcher {
	return &watcher{client: client, seeds: seeds, peers: map[string]*seen{}, changed: make(chan struct{})}
}

// open begins to look, if nobody did, until close is called as often.
func (w *watcher) open() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lookers++
	if w.lookers > 1 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	before, stopped := w.stopped, make(chan struct{})
	w.stop, w.stopped = cancel, stopped
	go func() {
		defer close(stopped)
		if before != nil {
			<-before
		}
		w.run(ctx)
	}()
}

func (w *watcher) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lookers--; w.lookers == 0 {
		w.stop()
	}
}

// wait returns when nobody looks any more, after the last close.
func (w *watcher) wait() {
	w.mu.Lock()
	stopped := w.stopped
	w.mu.Unlock()
	if stopped != nil {
		<-stopped
	}
}

func (w *watcher) run(ctx context.Context) {
	var asking sync.WaitGroup
	defer asking.Wait()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		w.look(ctx, &asking)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// look asks all peers, and makes a snapshot when they have answered, or soon.
func (w *watcher) look(ctx context.Context, asking *sync.WaitGroup) {
	late := time.NewTimer(lookWait)
	defer late.Stop()
	who := w.targets(time.Now())
	for range lookDeep {
		if len(who) == 0 || !w.askAll(ctx, asking, who, late.C) {
			break
		}
		who = w.fresh()
	}
	if ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.snapshot = w.draw(time.Now())
	close(w.changed)
	w.changed = make(chan struct{})
}

// askAll reports whether all have answered before it was late.
func (w *watcher) askAll(ctx context.Context, asking *sync.WaitGroup, who []*seen, late <-chan time.Time) bool {
	answered := make(chan struct{}, len(who))
	for _, p := range who {
		asking.Go(func() {
			w.ask(ctx, p)
			answered <- struct{}{}
		})
	}
	for range who {
		select {
		case <-answered:
		case <-late:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// fresh returns whom of the view nobody has asked yet.
func (w *watcher) fresh() (all []*seen) {
	for _, m := range w.viewed() {
		p := w.peer(m.Addr)
		w.mu.Lock()
		if !p.asking && p.ok.IsZero() && p.why == nil && len(all) < maxKnown {
			p.asking = true
			all = append(all, p)
		}
		w.mu.Unlock()
	}
	return all
}

// targets returns whom to ask now: the peers of the view; if none of them has
// answered lately, whoever was ever known.
func (w *watcher) targets(now time.Time) []*seen {
	var addrs []string
	heard := false
	for _, m := range w.viewed() {
		addrs = append(addrs, m.Addr)
		p := w.peer(m.Addr)
		w.mu.Lock()
		heard = heard || !p.ok.IsZero() && now.Sub(p.ok) < lostAfter
		w.mu.Unlock()
	}
	if !heard {
		addrs = append(addrs, w.seeds()...)
	}
	for _, a := range addrs {
		w.peer(a)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []*seen
	for addr, p := range w.peers {
		if !p.asking && len(all) < maxKnown && (!heard || slices.Contains(addrs, addr)) {
			p.asking = true
			all = append(all, p)
		}
	}
	return all
}

func (w *watcher) viewed() []member {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.view.Peers
}

// peer returns what is known of an address. The one that was silent for longest
// makes room.
func (w *watcher) peer(addr string) *seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.peers[addr]; p != nil {
		return p
	}
	if len(w.peers) >= maxKnown {
		oldest := ""
		for a, p := range w.peers {
			if !p.asking && (oldest == "" || p.ok.Before(w.peers[oldest].ok)) {
				oldest = a
			}
		}
		delete(w.peers, oldest)
	}
	p := &seen{addr: addr, since: time.Now()}
	w.peers[addr] = p
	return p
}

// ask takes up what a peer answers.
func (w *watcher) ask(ctx context.Context, p *seen) {
	w.mu.Lock()
	query := fmt.Sprintf("http://%s/glance?events=%d", p.addr, p.events)
	if w.teller == p.addr || w.teller == "" {
		query += fmt.Sprintf("&points=%d", w.newest)
	}
	w.mu.Unlock()
	g, err := w.get(ctx, query)
	w.mu.Lock()
	defer w.mu.Unlock()
	p.asking = false
	now := time.Now()
	if err != nil {
		if p.why == nil {
			p.failed = now
		}
		p.why = err
		if w.teller == p.addr {
			w.teller, w.newest = "", 0
		}
		return
	}
	if g.Last < p.events {
		p.events = 0 // another process has its address now, and will be asked for all
	}
	p.ok, p.why, p.last = now, nil, g
	if g.status.Epoch >= w.view.Epoch {
		w.view = g.status
	}
	ahead := g.Now - now.UnixMilli()
	for _, e := range g.Events {
		if e.Number > p.events {
			p.events = e.Number
			w.log.add(e, g.status.ID, ahead)
		}
	}
	w.takePoints(p.addr, g.Points, ahead)
}

// takePoints takes them from one peer, as long as that answers.
func (w *watcher) takePoints(addr string, points []point, ahead int64) {
	if w.teller == "" && len(points) > 0 {
		w.teller = addr
	}
	if w.teller != addr {
		return
	}
	for _, pt := range points {
		if pt.Time <= w.newest {
			continue
		}
		w.newest = pt.Time
		pt.Time -= ahead
		if n := len(w.points); n > 0 && pt.Time <= w.points[n-1].Time {
			continue // another peer has told of that time
		}
		w.points = append(w.points, pt)
	}
	w.points = w.points[max(0, len(w.points)-maxPoints):]
}

func (w *watcher) get(ctx context.Context, url string) (g glance, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askTimeout, errMute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return g, err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return g, plain(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return g, fmt.Errorf("it answers %s", resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&g); err != nil {
		return g, plain(ctx, err)
	}
	return g, json.Unmarshal(g.Raw, &g.status)
}

var (
	errMute = errors.New("it does not answer")
	errGone = errors.New("nobody listens at its address")
)

// plain says in a few words why a peer does not answer.
func plain(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, syscall.ECONNREFUSED):
		return errGone
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it has closed the connection")
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err
}
