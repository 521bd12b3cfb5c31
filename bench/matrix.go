package bench

import (
	"context"
	"fmt"
	"io"
	"math"

	"github.com/ringrun/ringrun/ring"
)

// A Matrix measures the links between all pairs of peers, one after the other.
type Matrix struct{}

// A MatrixResult says what the links carry, and in which order a ring would be
// fastest.
type MatrixResult struct {
	Size    int         `json:"np"`
	MBps    [][]float64 `json:"MBps"`       // both ways at once
	Latency [][]float64 `json:"latency_us"` // of an exchange of four bytes
	Slowest float64     `json:"slowest_MBps"`
	Order   []int       `json:"order"`
	Best    float64     `json:"order_slowest_MBps"`
}

// Run takes part in the measurement; see Job.Run.
func (Matrix) Run(ctx context.Context, c Comm, report func(Result), progress func(string)) error {
	var all []int
	for rank := range c.Size() {
		all = append(all, rank)
	}
	if c.Rank() == 0 {
		progress("measuring links")
	}
	ways, err := c.Ways(ctx, all)
	if err != nil || c.Rank() != 0 {
		return err
	}
	r := MatrixResult{Size: c.Size(), Order: ring.Order(ways)}
	for _, row := range ways {
		var rates, delays []float64
		for _, w := range row {
			rates, delays = append(rates, w.Rate/1e6), append(delays, w.Latency*1e6)
		}
		r.MBps, r.Latency = append(r.MBps, rates), append(r.Latency, delays)
	}
	r.Slowest, r.Best = slowest(r.MBps, all), slowest(r.MBps, r.Order)
	report(Result{Matrix: &r})
	return nil
}

// slowest returns the rate of the slowest link of a ring, 0 if there is none.
func slowest(rates [][]float64, order []int) float64 {
	if len(order) < 2 {
		return 0
	}
	least := math.Inf(1)
	for i, from := range order {
		least = min(least, rates[from][order[(i+1)%len(order)]])
	}
	return least
}

// Write writes the tables.
func (r MatrixResult) Write(w io.Writer) {
	r.table(w, "# MB/s each way, both at once", r.MBps)
	r.table(w, "# us for an exchange of 4 bytes", r.Latency)
	if r.Size > 1 {
		fmt.Fprintf(w, "# slowest link of the ring: %s MB/s; in the order %v: %s MB/s\n", figure(r.Slowest), r.Order, figure(r.Best))
	}
}

func (r MatrixResult) table(w io.Writer, head string, cells [][]float64) {
	fmt.Fprintf(w, "%s\n#%6s", head, "rank")
	for to := range cells {
		fmt.Fprintf(w, " %8d", to)
	}
	fmt.Fprintln(w)
	for from, row := range cells {
		fmt.Fprintf(w, " %6d", from)
		for to, x := range row {
			cell := "-"
			if to != from {
				cell = figure(x)
			}
			fmt.Fprintf(w, " %8s", cell)
		}
		fmt.Fprintln(w)
	}
}
