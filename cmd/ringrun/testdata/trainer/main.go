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
)

var (
	steps = flag.Int("steps", 1<<30, "end after so many steps")
	slow  = flag.String("slow", "", "the worker with this `ID` prefix computes for ever in step 5")
	crash = flag.String("crash", "", "the worker with this `ID` prefix crashes in step 5")
	exit  = flag.String("exit", "", "the worker with this `ID` prefix ends in step 5, without a word to the others")
	eat   = flag.String("eat", "", "the worker with this `ID` prefix takes memory from step 5 on, without end")
	pause = flag.Duration("pause", 5*time.Millisecond, "how long a step computes")
)

var eaten [][]byte

type model struct{ x []float32 }

func (m *model) Save(w io.Writer) error { _, err := fmt.Fprintln(w, len(m.x)); return err }
func (m *model) Load(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }

func main() {
	flag.Parse()
	cfg, err := elastic.FromEnv()
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
		if *slow != "" && g.Steps() == 5 && strings.HasPrefix(os.Getenv("RINGRUN_ID"), *slow) {
			<-ctx.Done()
			return ctx.Err()
		}
		select {
		case <-time.After(*pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		reduce := func(c *allreduce.Comm, _ elastic.Weights) error {
			return c.AllReduce(ctx, allreduce.Of(m.x), allreduce.Mean)
		}
		if _, err := g.Commit(ctx, reduce, func() error { return nil }); err != nil {
			return err
		}
		if g.Steps()%10 == 1 {
			fmt.Println("step", g.Steps())
		}
	}
	return nil
}
