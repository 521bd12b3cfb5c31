package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ringrun/ringrun/elastic"
	"github.com/urfave/cli/v3"
)

func askFlags(more ...cli.Flag) []cli.Flag {
	return append(more, &cli.StringFlag{Name: "secret-file", Usage: "the run's secret is in this `FILE` (default: RINGRUN_SECRET, or what this machine knows)"})
}

func statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "tell how a run goes: every peer, its steps, and what it does",
		ArgsUsage: "[ADDR]",
		Flags:     askFlags(&cli.BoolFlag{Name: "json", Usage: "print one JSON object for each peer"}),
		Action: func(ctx context.Context, c *cli.Command) error {
			a, err := newAsker(c, c.Args().First())
			if err != nil {
				return err
			}
			answers, err := a.all(ctx)
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(os.Stdout, answers)
			}
			return printStatus(os.Stdout, answers)
		},
	}
}

func printJSON(w io.Writer, answers []answer) error {
	enc := json.NewEncoder(w)
	for _, a := range answers {
		line := struct {
			elastic.Status
			Addr  string `json:"addr"`
			Error string `json:"error,omitempty"`
		}{Status: a.Status, Addr: a.peer.Addr}
		line.ID = a.peer.ID
		if a.err != nil {
			line.Error = a.err.Error()
		}
		if err := enc.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

func printStatus(w io.Writer, answers []answer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(statusHeads, "\t"))
	for _, a := range answers {
		fmt.Fprintln(t, strings.Join(a.row(), "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if who := blocking(answers); who != "" {
		fmt.Fprintf(w, "all wait for %s\n", who)
	}
	for _, s := range slow(answers) {
		fmt.Fprintln(w, s)
	}
	return nil
}

// slow lists the peers of which any says that they are, each once.
func slow(answers []answer) (all []elastic.Slow) {
	for _, a := range answers {
		for _, s := range a.Slow {
			if !slices.ContainsFunc(all, func(t elastic.Slow) bool { return t.ID == s.ID }) {
				all = append(all, s)
			}
		}
	}
	return all
}

var statusHeads = []string{"RANK", "PEER", "HOST", "ADDRESS", "VIEW", "STEPS", "STEP/S", "COMPUTE", "REDUCE", "WAIT", "NOW", "MEMORY"}

// row describes one peer in the columns of statusHeads.
func (a answer) row() []string {
	if a.err != nil {
		return []string{"?", a.peer.ID, "", a.peer.Addr, "", "", "", "", "", "", a.err.Error(), ""}
	}
	s := a.Status
	total := 0.0
	for _, d := range s.Spent {
		total += d
	}
	share := func(p elastic.Phase) string { return fmt.Sprintf("%.0f%%", 100*s.Spent[p]/max(total, 1e-9)) }
	rate := "-"
	if s.StepTime > 0 {
		rate = fmt.Sprintf("%.1f", 1/s.StepTime)
	}
	return []string{
		fmt.Sprint(s.Rank), s.ID, s.Host, a.peer.Addr, fmt.Sprint(s.Epoch), fmt.Sprint(s.Steps), rate,
		share(elastic.Computing), share(elastic.Reducing), share(elastic.Waiting),
		fmt.Sprintf("%s %s", s.Phase, seconds(s.InPhase)), fmt.Sprintf("%.0f MB", float64(s.Memory)/1e6),
	}
}

func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

// blockingTime is how long others must have waited for a peer to be named.
const blockingTime = 1.0 // s

// blocking names those who compute while all others have waited for a while.
func blocking(answers []answer) string {
	var busy []string
	for _, a := range answers {
		switch {
		case a.err != nil || a.Phase != elastic.Reducing && a.Phase != elastic.Waiting:
			busy = append(busy, a.peer.ID)
		case a.InPhase < blockingTime:
			return ""
		}
	}
	if len(busy) == len(answers) {
		return ""
	}
	return strings.Join(busy, ", ")
}

func stacksCommand() *cli.Command {
	return &cli.Command{
		Name: "stacks", Usage: "print what every goroutine of a peer does", ArgsUsage: "PEER [ADDR]",
		Flags: askFlags(),
		Action: func(ctx context.Context, c *cli.Command) error {
			if c.Args().Len() < 1 {
				return usagef("stacks: which peer? ringrun status lists them")
			}
			a, err := newAsker(c, c.Args().Get(1))
			if err != nil {
				return err
			}
			p, err := a.find(ctx, c.Args().First())
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeoutCause(ctx, askTimeout, fmt.Errorf("no answer within %v", askTimeout))
			defer cancel()
			return a.copy(ctx, os.Stdout, p.Addr, "/stacks")
		},
	}
}

// copy writes what a peer answers.
func (a *asker) copy(ctx context.Context, w io.Writer, addr, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return fmt.Errorf("peer at %s: %w", addr, plain(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Errorf("peer at %s: %s", addr, strings.TrimSpace(string(text)))
	}
	_, err = io.Copy(w, resp.Body)
	return err
}
