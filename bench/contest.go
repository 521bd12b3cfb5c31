package bench

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/ringrun/ringrun/allreduce"
)

// A Contest times an all-reduce of float32 by every algorithm that the ring
// allows, and by the one that the peers choose by themselves, over a list of
// sizes. The algorithms take turns in every round, so that what disturbs the
// machine disturbs all of them. Zero fields mean what is said beside them.
type Contest struct {
	Transport string
	Sizes     []int         // bytes, multiples of 4
	Rounds    int           // 5
	MinTime   time.Duration // 20 ms: an algorithm's turn lasts about so long
}

// A ContestResult is one line of a Contest.
type ContestResult struct {
	Size      int                `json:"np"`
	Transport string             `json:"transport"`
	Bytes     int                `json:"bytes"`
	US        map[string]float64 `json:"median_us"` // by algorithm
	AutoUS    float64            `json:"auto_us"`
	Choice    string             `json:"choice"`
	Best      string             `json:"best"`
	Ratio     float64            `json:"choice_over_best"` // time of the chosen algorithm over the best one's
}

// wholeMost bounds what all peers together hold when vectors travel whole.
const wholeMost = 512 << 20

// Run takes part in the contest; see Job.Run.
func (t Contest) Run(ctx context.Context, c Comm, report func(Result), progress func(string)) error {
	if t.Rounds == 0 {
		t.Rounds = 5
	}
	if t.MinTime == 0 {
		t.MinTime = 20 * time.Millisecond
	}
	most := 0
	for _, bytes := range t.Sizes {
		if bytes < 0 || bytes%4 != 0 {
			return fmt.Errorf("bench: %d bytes are no whole number of float32", bytes)
		}
		most = max(most, bytes)
	}
	x := allreduce.Of(make([]float32, most/4))
	for _, bytes := range t.Sizes {
		if c.Rank() == 0 {
			progress(FormatSize(bytes))
		}
		r, err := t.size(ctx, c, x.Slice(0, bytes/4))
		if err != nil {
			return fmt.Errorf("%d bytes: %w", bytes, err)
		}
		if c.Rank() == 0 {
			report(Result{Contest: &r})
		}
	}
	return nil
}

func (t Contest) size(ctx context.Context, c Comm, x allreduce.Vector) (ContestResult, error) {
	bytes := len(x.Bytes())
	r := ContestResult{Size: c.Size(), Transport: t.Transport, Bytes: bytes, US: map[string]float64{}, Choice: c.Choice(x).String()}
	turns := []allreduce.Algorithm{allreduce.Auto}
	for _, a := range c.Algorithms() {
		if a == allreduce.Ring || c.Size()*c.Size()*bytes <= wholeMost {
			turns = append(turns, a)
		}
	}
	times := map[allreduce.Algorithm][][]time.Duration{}
	iters := make([]int, len(turns))
	for round := range t.Rounds + 1 { // the first warms up, and says how many make a turn
		for i, a := range turns {
			took, err := t.turn(ctx, c, a, x, iters[i])
			if err != nil {
				return r, err
			}
			if round == 0 {
				table, err := exchange(ctx, c, quantile(took, 0.5).Seconds())
				if err != nil {
					return r, err
				}
				iters[i] = int(min(max(t.MinTime.Seconds()/max(table[0][0], 1e-9), 3), 10000))
				continue
			}
			times[a] = append(times[a], took)
		}
	}
	for a, of := range times {
		us := micros(spreadOf(of).Median)
		if a == allreduce.Auto {
			r.AutoUS = us
			continue
		}
		r.US[a.String()] = us
		if r.Best == "" || us < r.US[r.Best] {
			r.Best = a.String()
		}
	}
	if best := r.US[r.Best]; best > 0 {
		r.Ratio = r.US[r.Choice] / best
	}
	return r, nil
}

// turn returns the times of some operations, of at least three.
func (t Contest) turn(ctx context.Context, c Comm, a allreduce.Algorithm, x allreduce.Vector, iters int) (took []time.Duration, err error) {
	last := time.Now()
	for range max(iters, 3) {
		if err := c.AllReduceBy(ctx, a, x, allreduce.Sum); err != nil {
			return nil, err
		}
		now := time.Now()
		took = append(took, now.Sub(last))
		last = now
	}
	return took, nil
}

// contestants are the columns of the table.
var contestants = []string{"ring", "exchange", "dissemination", "shared", "two-level"}

// ContestHeader writes the head of the table that ContestResult.WriteRow fills.
func ContestHeader(w io.Writer) {
	fmt.Fprintf(w, "#%12s", "size (B)")
	for _, name := range contestants {
		fmt.Fprintf(w, " %14s", name)
	}
	fmt.Fprintf(w, " %12s %14s %14s %6s\n", "auto (us)", "choice", "best", "ratio")
}

// WriteRow writes one line of the table.
func (r ContestResult) WriteRow(w io.Writer) {
	fmt.Fprintf(w, " %12d", r.Bytes)
	for _, name := range contestants {
		cell := "-"
		if us, ok := r.US[name]; ok {
			cell = figure(us)
		}
		fmt.Fprintf(w, " %14s", cell)
	}
	fmt.Fprintf(w, " %12s %14s %14s %6.2f\n", figure(r.AutoUS), r.Choice, r.Best, r.Ratio)
}
