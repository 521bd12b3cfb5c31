package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ringrun/ringrun/bench"
)

// A contest whose racers say what the test wants.
func rehearsed(losses ...float64) contest {
	c := contest{title: "rehearsal", task: bench.Perceptron{Time: time.Second}, ratios: [][2]int{{0, 1}}}
	for i, name := range []string{"a", "b"} {
		turn := 0
		c.racers = append(c.racers, racer{name, 1, false, func(context.Context, int) (bench.TrainResult, error) {
			turn++
			rate := []float64{100, 20}[i] * float64(turn)
			return bench.TrainResult{Size: 1, MedianMS: 1000 / rate, Rate: rate, Loss: losses[i]}, nil
		}})
	}
	c.racers[1].run = slower(c.racers[1].run)
	return c
}

// slower makes the second turn half as fast as it says.
func slower(run func(context.Context, int) (bench.TrainResult, error)) func(context.Context, int) (bench.TrainResult, error) {
	turn := 0
	return func(ctx context.Context, n int) (bench.TrainResult, error) {
		r, err := run(ctx, n)
		if turn++; turn == 2 {
			r.Rate /= 2
		}
		return r, err
	}
}

// Ratios are taken turn by turn.
func TestRace(t *testing.T) {
	p := &program{line: newStatusLine(&bytes.Buffer{})}
	r, err := p.race(t.Context(), rehearsed(2, 2.0001), 3)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := r.write(&out, false, "9.9"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"torch 9.9; medians of 3 turns of 1s", "5.000          200    2.00000", "a with 1 over b with 1: 5.00 times the samples/s (5.00 to 10.00)"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
	if _, err := p.race(t.Context(), rehearsed(2, 2.1), 1); err == nil || !strings.Contains(err.Error(), "do not do the same work") {
		t.Errorf("another loss: error %v", err)
	}
	failing := rehearsed(2, 2)
	failing.racers[0].run = func(context.Context, int) (bench.TrainResult, error) { return bench.TrainResult{}, errors.New("tired") }
	if _, err := p.race(t.Context(), failing, 1); err == nil || !strings.Contains(err.Error(), "tired") {
		t.Errorf("a racer fails: error %v", err)
	}
}

// Peers that train apart are as fast as both together, and fail as one.
func TestApart(t *testing.T) {
	p := &program{line: newStatusLine(&bytes.Buffer{})}
	run := func(err error) func(context.Context, int) (bench.TrainResult, error) {
		return p.apart(func(_ context.Context, peers int) (bench.TrainResult, error) {
			return bench.TrainResult{Size: peers, MedianMS: 2, Rate: 100, Loss: 3}, err
		})
	}
	if got, err := run(nil)(t.Context(), 2); err != nil || got != (bench.TrainResult{Size: 2, MedianMS: 2, Rate: 200, Loss: 3}) {
		t.Errorf("two of 100 samples/s: %+v, %v", got, err)
	}
	if _, err := run(errors.New("tired"))(t.Context(), 2); err == nil || !strings.Contains(err.Error(), "tired") {
		t.Errorf("both fail: error %v", err)
	}
}

func TestVersusTorchFlags(t *testing.T) {
	for args, want := range map[string]string{
		"-contest jump": `-contest: "jump"`,
		"-turns 0":      "-turns: 0",
		"-time 0s":      "-time: 0s",
		"-transport x":  `-transport: "x"`,
		"here":          `argument "here"`,
	} {
		var stderr bytes.Buffer
		if run(t.Context(), append([]string{"ringbench", "versus-torch"}, strings.Fields(args)...), &bytes.Buffer{}, &stderr) == 0 || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: %s, want %q", args, stderr.String(), want)
		}
	}
}
