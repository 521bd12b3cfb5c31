package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// A Launch starts peers on this machine, each a process that calls Serve.
type Launch struct {
	Peers     int
	Transport string  // "auto", "shm", "tcp" or "rtc"
	Codec     string  // "raw", "half" or "zstd"
	Hosts     int     // the peers take it that they are on so many hosts, each of peers that follow each other; 0: on this one
	Netns     []Netns // the peers are in these namespaces of the network, likewise; none: in ours
	Job       Job
	Command   []string  // of a peer
	Env       []string  // of a peer, on top of ours
	Stderr    io.Writer // what peers write there; default: ours
	Report    func(Result)
	Progress  func(string) // optional

	founding time.Duration // for the founder to say where it is; default 10 s
}

// A Netns is a namespace of the network and an address in it.
type Netns struct{ Name, Addr string }

// order is what a peer is told on its standard input; the input stays open as
// long as whoever launched it lives.
type order struct {
	Peers int `json:"peers"`
	Job   Job `json:"job"`
}

// news is what a peer says on its standard output, one object a line.
type news struct {
	Result   *Result `json:"result,omitempty"`
	Progress string  `json:"progress,omitempty"`
	Error    string  `json:"error,omitempty"`
}

// Run starts the peers, the first as founder, the others when it listens, and
// waits for all of them. No peer outlives Run: when ctx ends or a peer fails the
// others are told to end, and killed if they do not. Should this process die,
// their standard input ends, which Serve watches.
func (l Launch) Run(ctx context.Context) error {
	if l.Peers < 1 {
		return fmt.Errorf("bench: %d peers, want at least 1", l.Peers)
	}
	if l.Stderr == nil {
		l.Stderr = os.Stderr
	}
	if l.Progress == nil {
		l.Progress = func(string) {}
	}
	if l.founding == 0 {
		l.founding = 10 * time.Second
	}
	g := &group{Launch: l, run: "bench-" + randomHex(4), secret: randomHex(32), founder: make(chan string, 1)}
	g.ctx, g.stop = context.WithCancelCause(ctx)
	defer g.stop(nil)
	l.Progress(fmt.Sprintf("starting %d peers", l.Peers))
	if addr, ok := g.founded(g.start(0, "")); ok {
		for i := 1; i < l.Peers; i++ {
			g.start(i, addr)
		}
	}
	g.wait.Wait()
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	return errors.Join(g.errs...)
}

// group is a Launch in progress.
type group struct {
	Launch
	run, secret string
	founder     chan string // gets the founder's address
	ctx         context.Context
	stop        context.CancelCauseFunc
	wait        sync.WaitGroup

	mu   sync.Mutex // guards errs
	errs []error
}

var errFailed = errors.New("bench: a peer failed")

// founded waits until the founder listens.
func (g *group) founded(ended <-chan struct{}) (addr string, ok bool) {
	t := time.NewTimer(g.founding)
	defer t.Stop()
	select {
	case addr = <-g.founder:
		return addr, true
	case <-g.ctx.Done():
	case <-ended:
		g.fail(0, errors.New("ended before it listened"))
	case <-t.C:
		g.fail(0, fmt.Errorf("does not listen after %v", g.founding))
	}
	return "", false
}

func (g *group) id(i int) string {
	return fmt.Sprintf("p%0*d", len(fmt.Sprint(g.Peers-1)), i)
}

// start runs peer i in a goroutine of its own. The channel is closed when the
// peer has ended.
func (g *group) start(i int, founder string) <-chan struct{} {
	ended := make(chan struct{})
	g.wait.Go(func() {
		defer close(ended)
		if err := g.peer(i, founder); err != nil {
			g.fail(i, err)
		}
	})
	return ended
}

// fail notes what went wrong and ends the others. What they report because of
// it only repeats the first error from the other side, and is left out.
func (g *group) fail(i int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.errs) == 0 {
		g.errs = append(g.errs, fmt.Errorf("peer %s: %w", g.id(i), err))
	}
	g.stop(errFailed)
}

// peer runs one peer to its end. Its standard input is closed to tell it to end.
func (g *group) peer(i int, founder string) error {
	p, err := g.spawn(i, founder)
	if err != nil {
		return err
	}
	var events sync.WaitGroup
	events.Go(func() { p.listen(g.founder) })
	said := g.hear(p.stdout)
	err = p.cmd.Wait()
	events.Wait()
	p.events.Close()
	if said != nil {
		return said
	}
	return err
}

// hear passes on what the peer says, until it ends, and returns the error that
// it ends with.
func (g *group) hear(r io.Reader) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	var err error
	for s.Scan() {
		var n news
		if json.Unmarshal(s.Bytes(), &n) != nil {
			err = fmt.Errorf("said %q, which is no news", s.Text())
			continue
		}
		g.pass(n)
		if n.Error != "" {
			err = errors.New(n.Error)
		}
	}
	return errors.Join(err, s.Err())
}

func (g *group) pass(n news) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n.Progress != "" {
		g.Progress(n.Progress)
	}
	if n.Result != nil && g.Report != nil {
		g.Report(*n.Result)
	}
}
