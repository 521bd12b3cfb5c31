package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/elastic"
)

// ErrOrphan reports that whoever launched this peer is gone.
var ErrOrphan = errors.New("bench: the launcher is gone")

// Serve is the life of one peer that Launch started: it reads its job from in,
// joins the group that the environment describes, takes part, and writes what it
// finds to out. wrap, if not nil, stands between the job and the communicator.
// Serve ends when in does. When that happens before the job is done, exit is
// called first, because what Serve waits for may never come; it should end the
// process after a while.
func Serve(ctx context.Context, in io.Reader, out io.Writer, wrap func(Comm) Comm, exit func()) error {
	p := &peer{out: json.NewEncoder(out), wrap: wrap}
	lines := bufio.NewReader(in)
	line, err := lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &p.order)
	}
	if err != nil {
		return p.end(fmt.Errorf("bench: read the job: %w", err))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // ends with the process: nothing can interrupt its read
		_, _ = io.Copy(io.Discard, lines)
		if ctx.Err() == nil {
			exit()
			cancel(ErrOrphan)
		}
	}()
	cfg, err := elastic.FromEnv()
	if err != nil {
		return p.end(err)
	}
	return p.end(elastic.Run(ctx, cfg, p.train))
}

// peer is a Serve in progress.
type peer struct {
	order
	wrap func(Comm) Comm

	mu  sync.Mutex // guards out
	out *json.Encoder
}

// end tells the launcher how it ended.
func (p *peer) end(err error) error {
	if err != nil {
		p.say(news{Error: err.Error()})
	}
	return err
}

func (p *peer) say(n news) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.out.Encode(n) // nobody listens any more: in has ended too
}

// train runs the job as one step of training, once: a measurement that was
// interrupted is not one.
func (p *peer) train(ctx context.Context, g *elastic.Group) error {
	if job := p.Job.Perceptron; job != nil {
		return job.Run(g, func(r Result) { p.say(news{Result: &r}) })
	}
	g.SetState(stateless{})
	var failed error
	_, err := g.Commit(ctx, func(c *allreduce.Comm, _ elastic.Weights) error {
		if failed = p.measure(ctx, c, g.Alloc); failed != nil {
			return errInterrupted
		}
		return nil
	}, func() error { return nil })
	if failed != nil {
		return failed
	}
	return err
}

var errInterrupted = errors.New("bench: interrupted")

func (p *peer) measure(ctx context.Context, c *allreduce.Comm, alloc func(bytes int) []byte) error {
	if c.Size() != p.Peers {
		return fmt.Errorf("bench: %d peers came together, want %d", c.Size(), p.Peers)
	}
	var measured Comm = c
	if p.wrap != nil {
		measured = p.wrap(c)
	}
	if p.Job.Sweep != nil {
		p.Job.Sweep.Alloc = alloc
	}
	return p.Job.Run(ctx, measured,
		func(r Result) { p.say(news{Result: &r}) },
		func(s string) { p.say(news{Progress: s}) })
}

// stateless is the State of peers that hold nothing in common.
type stateless struct{}

func (stateless) Save(io.Writer) error { return nil }
func (stateless) Load(io.Reader) error { return nil }
