package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/ringrun/ringrun/elastic"
	"github.com/ringrun/ringrun/elastic/autopsy"
	"github.com/ringrun/ringrun/elastic/blackbox"
	"github.com/urfave/cli/v3"
)

// ask adds what the peers of a run that goes on have: their own boxes, and their
// copies of others.
func (e *evidence) ask(ctx context.Context, c *cli.Command, addr string) error {
	a, err := newAsker(c, addr)
	if err != nil {
		return err
	}
	first, err := a.first(ctx)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, p := range first.Peers {
		asking.Go(func() {
			boxes, clock, err := a.boxes(ctx, p.Addr)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				e.lack = append(e.lack, fmt.Sprintf("%s: %v", p.ID, err))
				return
			}
			clock.Boot = boxes[0].Header.Boot
			e.Boxes, e.Clocks = append(e.Boxes, boxes...), append(e.Clocks, clock)
			e.answered = append(e.answered, boxes[0].Header.ID)
		})
	}
	asking.Wait()
	e.from = append(e.from, fmt.Sprintf("%d of the %d peers of the run", len(e.answered), len(first.Peers)))
	return nil
}

// boxes returns those that a peer has, its own first, and how its clock differs from
// ours.
func (a *asker) boxes(ctx context.Context, addr string) (all []blackbox.Recording, c autopsy.Clock, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askTimeout, fmt.Errorf("no answer within %v", askTimeout))
	defer cancel()
	ahead, err := a.clock(ctx, addr)
	if err != nil {
		return nil, c, err
	}
	var b bytes.Buffer
	began := time.Now()
	if err := a.copy(ctx, &b, addr, "/blackbox"); err != nil {
		return nil, c, err
	}
	var got elastic.Boxes
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		return nil, c, err
	}
	for _, box := range got.Boxes {
		r, err := blackbox.Parse(box)
		if err != nil {
			return nil, c, err
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return nil, c, blackbox.ErrNoBox
	}
	return all, autopsy.Clock{Ahead: ahead, Slack: int64(time.Since(began))}, nil
}

// shownLines is how much of the timeline is shown unless all is asked for.
const shownLines = 30

func (e *evidence) print(w io.Writer, r autopsy.Report, all bool) error {
	fmt.Fprintf(w, "%s\n\n", r.Cause)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PEER\tHOST\tSTEPS\tLAST SEEN\tDOING\tMEMORY\tFATE")
	for _, p := range r.Peers {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%.0f MB\t%s\n", p.Name, p.Host, p.Step, clockTime(p.Seen), p.Phase, float64(p.Memory)/1e6, p.Fate)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	lines := r.Timeline
	if !all {
		lines = autopsy.Important(lines, r.Fault, shownLines)
	}
	fmt.Fprintln(w)
	for _, l := range lines {
		mark := " "
		if l.Weight == 3 {
			mark = "*"
		}
		fmt.Fprintf(w, "%s %s  %s: %s\n", mark, clockTime(l.Time), strings.Join(l.Peers, " "), l.Text)
	}
	fmt.Fprintln(w)
	return e.remarks(w, r, len(r.Timeline)-len(lines))
}

// remarks say what the report rests on.
func (e *evidence) remarks(w io.Writer, r autopsy.Report, left int) error {
	fmt.Fprintf(w, "run %s, %s; from %s", r.Run, r.Outcome, strings.Join(e.from, ", "))
	if left > 0 {
		fmt.Fprintf(w, "; %d more lines with -all", left)
	}
	fmt.Fprintln(w)
	if len(r.Missing) > 0 {
		fmt.Fprintf(w, "nothing is left here of %s: ringrun autopsy -H a,b fetches what their hosts have kept\n", strings.Join(r.Missing, ", "))
	}
	if len(r.Unaligned) > 0 {
		fmt.Fprintf(w, "nobody has compared the clock of %s: their times may be off\n", strings.Join(r.Unaligned, ", "))
	}
	for _, s := range e.lack {
		fmt.Fprintln(w, s)
	}
	return nil
}

func clockTime(t int64) string {
	if t == 0 {
		return "-"
	}
	return time.Unix(0, t).Format("15:04:05.000")
}
