package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ringrun/ringrun/elastic"
	"github.com/urfave/cli/v3"
)

func traceCommand() *cli.Command {
	return &cli.Command{
		Name: "trace", Usage: "record what all peers do, as a timeline for chrome://tracing or ui.perfetto.dev", ArgsUsage: "[ADDR]",
		Flags: askFlags(
			&cli.StringFlag{Name: "o", Value: "trace.json", Usage: "write the timeline to this `FILE`"},
			&cli.DurationFlag{Name: "for", Value: 5 * time.Second, Usage: "record for this `TIME`, or until Ctrl-C"}),
		Action: func(ctx context.Context, c *cli.Command) error {
			a, err := newAsker(c, c.Args().First())
			if err != nil {
				return err
			}
			ctx, _ = catchSignals(ctx)
			ctx, cancel := context.WithTimeout(ctx, c.Duration("for"))
			defer cancel()
			return a.trace(ctx, c.String("o"), newPrinter(os.Stdout, os.Stderr))
		},
	}
}

// A timeline is a file in Chrome's trace event format: an array of events, of
// which each line holds one.
type timeline struct {
	mu     sync.Mutex
	w      *bufio.Writer
	events int
	lost   int
	err    error
}

// A traceEvent is described in "Trace Event Format"; times are in microseconds.
type traceEvent struct {
	Name string         `json:"name"`
	Cat  string         `json:"cat,omitempty"`
	Ph   string         `json:"ph"` // X: a span; M: says what a process is called
	Ts   float64        `json:"ts"`
	Dur  float64        `json:"dur,omitempty"`
	PID  int            `json:"pid"`
	TID  int            `json:"tid"`
	Args map[string]any `json:"args,omitempty"`
}

func (t *timeline) add(e traceEvent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b, err := json.Marshal(e)
	if err != nil {
		panic(err) // strings and numbers
	}
	sep := ",\n"
	if t.events == 0 {
		sep = "[\n"
	}
	t.events++
	_, err = t.w.WriteString(sep + string(b))
	t.err = errors.Join(t.err, err)
}

// trace records until ctx ends, or all peers do.
func (a *asker) trace(ctx context.Context, file string, out *printer) error {
	first, err := a.status(ctx, a.addr)
	if err != nil {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	t := &timeline{w: bufio.NewWriter(f)}
	var reading sync.WaitGroup
	errs := make([]error, len(first.Peers))
	for i, p := range first.Peers {
		t.add(traceEvent{Name: "process_name", Ph: "M", PID: i, Args: map[string]any{"name": p.ID}})
		reading.Go(func() { errs[i] = a.spans(ctx, p, func(s elastic.Span) { t.span(i, s) }) })
	}
	reading.Wait()
	_, err = t.w.WriteString("\n]\n")
	if err := errors.Join(t.err, err, t.w.Flush(), f.Close()); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	out.note("%s: %d spans of %s", file, t.events-len(first.Peers), count(len(first.Peers), "peer"))
	if t.lost > 0 {
		out.note("%d more came too fast to be recorded", t.lost)
	}
	return errors.Join(errs...)
}

func (t *timeline) span(peer int, s elastic.Span) {
	t.mu.Lock()
	t.lost += s.Lost
	t.mu.Unlock()
	t.add(traceEvent{
		Name: string(s.Phase), Cat: "phase", Ph: "X", PID: peer,
		Ts: float64(s.Begin) / 1e3, Dur: float64(s.End-s.Begin) / 1e3, Args: map[string]any{"step": s.Step},
	})
}

// spans passes on the spans of a peer, by the clock of this host.
func (a *asker) spans(ctx context.Context, p elastic.StatusPeer, f func(elastic.Span)) error {
	ahead, err := a.clock(ctx, p.Addr)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Addr+"/trace", nil)
	if err != nil {
		return err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return fmt.Errorf("peer at %s: %w", p.Addr, plain(err))
	}
	defer resp.Body.Close()
	for d := json.NewDecoder(resp.Body); ; {
		var s elastic.Span
		switch err := d.Decode(&s); {
		case ctx.Err() != nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF): // it has ended
			return nil
		case err != nil:
			return fmt.Errorf("peer at %s: %w", p.Addr, err)
		}
		s.Begin -= ahead
		s.End -= ahead
		f(s)
	}
}

// clockLooks is how often the clock of a peer is read; the quickest answer is the
// most exact.
const clockLooks = 8

// clock returns by how many nanoseconds the clock of a peer is ahead of ours.
func (a *asker) clock(ctx context.Context, addr string) (ahead int64, err error) {
	best := time.Duration(1 << 62)
	for range clockLooks {
		var b strings.Builder
		began := time.Now()
		if err := a.copy(ctx, &b, addr, "/clock"); err != nil {
			return 0, err
		}
		took := time.Since(began)
		there, err := strconv.ParseInt(b.String(), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("peer at %s: its clock says %q", addr, b.String())
		}
		if took < best {
			best, ahead = took, there-began.Add(took/2).UnixNano()
		}
	}
	return ahead, nil
}
