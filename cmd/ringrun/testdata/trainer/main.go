// Trainer is a real, small training program for ringrun's tests: it makes steps
// until it is told to end.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/elastic"
	"github.com/ringrun/ringrun/ring"
)

var (
	steps = flag.Int("steps", 1<<30, "end after so many steps")
	slow  = flag.String("slow", "", "the worker with this `ID` prefix computes for ever in step 5")
	crash = flag.String("crash", "", "the worker with this `ID` prefix crashes in step 5")
	exit  = flag.String("exit", "", "the worker with this `ID` prefix ends in step 5, without a word to the others")
	eat   = flag.String("eat", "", "the worker with this `ID` prefix takes memory from step 5 on, without end")
	read  = flag.String("read", "", "and for that reads from this `FILE`")
	walk  = flag.Int("walk", 0, "and for that walks through so many `MB` of memory again and again")
	late  = flag.String("late", "", "the worker with this `ID` prefix computes three times as long until step 1000")
	parts = flag.Int("buckets", 1, "all-reduces in a step; three of them begin before the backward pass ends")
	data  = flag.Int("data", 0, "take samples from a set of `N`")
	kind  = flag.String("model", "", "name of the model, which all peers must have alike")
	pause = flag.Duration("pause", 5*time.Millisecond, "how long a step computes")
	quiet = flag.Duration("silence", 20*time.Second, "how long a neighbour may be silent at least: nobody is lost because the machine is busy")
)

var eaten [][]byte

type model struct{ x []float32 }

func (m *model) Save(w io.Writer) error { _, err := fmt.Fprintln(w, len(m.x)); return err }
func (m *model) Load(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }

func main() {
	flag.Parse()
	cfg, err := elastic.FromEnv()
	cfg.Silence = max(cfg.Silence, *quiet)
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		err = elastic.Run(ctx, cfg, train)
		if ctx.Err() != nil {
			err = nil
		}
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func train(ctx context.Context, g *elastic.Group) error {
	m := &model{make([]float32, 1000)}
	g.SetState(m)
	g.SetDigest([]byte(*kind), sameModel)
	if *data > 0 {
		return trainOn(ctx, g, m)
	}
	for g.Steps() < uint64(*steps) { // of all peers: a newcomer makes those that are left
		if *crash != "" && g.Steps() == 5 && strings.HasPrefix(os.Getenv("RINGRUN_ID"), *crash) {
			var none []int
			fmt.Println(none[g.Steps()])
		}
		if *exit != "" && g.Steps() == 5 && strings.HasPrefix(os.Getenv("RINGRUN_ID"), *exit) {
			fmt.Fprintln(os.Stderr, "no such file")
			os.Exit(3)
		}
		if *eat != "" && g.Steps() >= 5 && strings.HasPrefix(os.Getenv("RINGRUN_ID"), *eat) {
			meal := make([]byte, 16<<20)
			for i := range meal {
				meal[i] = 1
			}
			eaten = append(eaten, meal)
		}
		if err := compute(ctx, g.Steps()); err != nil {
			return err
		}
		r := reduction{x: m.x}
		if c, _, ok := g.Early(); ok && *parts > 3 {
			r.start(c, 3)
		}
		if *slow != "" && g.Steps() == 5 && strings.HasPrefix(os.Getenv("RINGRUN_ID"), *slow) {
			return stick(ctx)
		}
		reduce := func(c *allreduce.Comm, _ elastic.Weights) error { return r.finish(ctx, c) }
		if _, err := g.Commit(ctx, reduce, func() error { return nil }); err != nil {
			return err
		}
		g.Observe("loss", 1/float64(g.Steps()))
		if g.Steps()%10 == 1 {
			fmt.Println("step", g.Steps())
		}
	}
	return nil
}

// compute takes its time.
func compute(ctx context.Context, step uint64) error {
	d := *pause
	if *late != "" && step < 1000 && strings.HasPrefix(os.Getenv("RINGRUN_ID"), *late) {
		d *= 3
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stick does not return before ctx ends.
func stick(ctx context.Context) error {
	fmt.Println("stuck", os.Getpid())
	switch {
	case *read != "":
		_, err := os.ReadFile(*read)
		return err
	case *walk > 0:
		b := make([]byte, *walk<<20)
		for i := 0; ctx.Err() == nil; i = (i + os.Getpagesize()) % len(b) {
			b[i]++
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// A reduction is the all-reduces of one step.
type reduction struct {
	x     []float32
	comm  *allreduce.Comm
	works []*allreduce.Work
}

// start begins n more of them.
func (r *reduction) start(c *allreduce.Comm, n int) {
	if r.comm != c {
		r.comm, r.works = c, nil
	}
	for range n {
		lo, hi := ring.Chunk(len(r.x), *parts, len(r.works))
		r.works = append(r.works, c.Start(allreduce.Of(r.x[lo:hi]), allreduce.Mean))
	}
}

func (r *reduction) finish(ctx context.Context, c *allreduce.Comm) error {
	if r.comm != nil && r.comm != c { // works there touch x until they have ended
		for _, w := range r.works {
			_ = w.Wait(ctx)
		}
	}
	if r.comm != c {
		r.comm, r.works = c, nil
	}
	r.start(c, *parts-len(r.works))
	var first error
	for _, w := range r.works {
		if err := w.Wait(ctx); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// sameModel is what the bridge does for real models.
func sameModel(ids []string, all [][]byte) error {
	for i := range all {
		if string(all[i]) != string(all[0]) {
			return fmt.Errorf("the model is %q on %s but %q on %s; start them with the same program and options", all[0], ids[0], all[i], ids[i])
		}
	}
	return nil
}

// trainOn takes its samples from a data set.
func trainOn(ctx context.Context, g *elastic.Group, m *model) error {
	for s, err := range g.Shards(ctx, elastic.Samples{Count: *data, Batch: 10}) {
		if err != nil {
			return err
		}
		time.Sleep(*pause)
		if !s.Last {
			continue
		}
		reduce := func(c *allreduce.Comm, _ elastic.Weights) error {
			return c.AllReduce(ctx, allreduce.Of(m.x), allreduce.Mean)
		}
		if _, err := g.Commit(ctx, reduce, func() error { return nil }); err != nil {
			return err
		}
	}
	return ctx.Err()
}
