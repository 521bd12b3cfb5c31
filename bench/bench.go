// Package bench measures. Launch starts peers on this machine, each of which
// calls Serve; together they run a Job: a Sweep, which times the all-reduce over
// a list of sizes, or a Training, which emulates data-parallel training of a
// known model. Both report Results: lines for tables and JSON, points for plots.
//
// Bandwidth is counted as nccl-tests do: algbw is bytes per second of the
// vector, busbw is that times 2(n-1)/n, what each peer sends and receives, so
// that numbers of different sizes compare.
//
// Durations are taken from the monotonic clock of rank 0, operations one behind
// the other without a barrier between. A time is the median of all operations
// of all rounds; beside it stands the range of the rounds' medians.
package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring"
)

// Comm is what is measured: an *allreduce.Comm, or in tests one with a fault.
type Comm interface {
	Rank() int
	Size() int
	AllReduce(ctx context.Context, x allreduce.Vector, op allreduce.Op) error
	Start(x allreduce.Vector, op allreduce.Op) *allreduce.Work
	Gather(ctx context.Context, mine []byte) ([][]byte, error)
	ReduceScatter(ctx context.Context, x allreduce.Vector, op allreduce.Op, parts []int) error
	AllGather(ctx context.Context, x allreduce.Vector, parts []int) error
	Broadcast(ctx context.Context, x allreduce.Vector, root int) error
	AllToAll(ctx context.Context, dst, src []allreduce.Vector) error
	AllReduceBy(ctx context.Context, a allreduce.Algorithm, x allreduce.Vector, op allreduce.Op) error
	AllReduceAll(ctx context.Context, xs []allreduce.Vector, op allreduce.Op) error
	Reduce(ctx context.Context, x allreduce.Vector, op allreduce.Op, root int) error
	Scatter(ctx context.Context, x allreduce.Vector, parts []int, root int) error
	GatherTo(ctx context.Context, x allreduce.Vector, parts []int, root int) error
	StartSend(x allreduce.Vector, to int) *allreduce.Work
	StartRecv(x allreduce.Vector, from int) *allreduce.Work
	Barrier(ctx context.Context) error
	Algorithms() []allreduce.Algorithm
	Choice(x allreduce.Vector) allreduce.Algorithm
	Ways(ctx context.Context, among []int) ([][]ring.Way, error)
}

// A Job is one measurement, alike on all peers. Exactly one field is set.
type Job struct {
	Sweep    *Sweep    `json:"sweep,omitempty"`
	Training *Training `json:"training,omitempty"`

	Perceptron *Perceptron `json:"perceptron,omitempty"` // needs a group: see Serve
	Contest    *Contest    `json:"contest,omitempty"`
	Matrix     *Matrix     `json:"matrix,omitempty"`
}

// Run takes part in the job. On rank 0 it calls report for each result and
// says, through progress, what it is doing.
func (j Job) Run(ctx context.Context, c Comm, report func(Result), progress func(string)) error {
	switch {
	case j.Sweep != nil:
		return j.Sweep.Run(ctx, c, report, progress)
	case j.Training != nil:
		return j.Training.Run(ctx, c, report, progress)
	case j.Contest != nil:
		return j.Contest.Run(ctx, c, report, progress)
	case j.Matrix != nil:
		return j.Matrix.Run(ctx, c, report, progress)
	}
	return fmt.Errorf("bench: a job without content")
}

// A Result is one line of what was measured: exactly one field is set.
type Result struct {
	Size *SizeResult `json:"size,omitempty"`
	Step *StepResult `json:"step,omitempty"`

	Train   *TrainResult   `json:"train,omitempty"`
	Contest *ContestResult `json:"contest,omitempty"`
	Matrix  *MatrixResult  `json:"matrix,omitempty"`
}

// exchange gives every peer everybody's numbers, in rank order. It is also a
// barrier.
func exchange(ctx context.Context, c Comm, mine ...float64) ([][]float64, error) {
	var b []byte
	for _, x := range mine {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
	}
	all, err := c.Gather(ctx, b)
	if err != nil {
		return nil, err
	}
	table := make([][]float64, len(all))
	for r, b := range all {
		if len(b) != 8*len(mine) {
			return nil, fmt.Errorf("bench: rank %d sent %d bytes of figures, want %d", r, len(b), 8*len(mine))
		}
		for ; len(b) > 0; b = b[8:] {
			table[r] = append(table[r], math.Float64frombits(binary.LittleEndian.Uint64(b)))
		}
	}
	return table, nil
}

// column adds up one column of what exchange returned.
func column(table [][]float64, i int) float64 {
	sum := 0.0
	for _, row := range table {
		sum += row[i]
	}
	return sum
}

// BusFactor is busbw over algbw: what of a vector each of size peers sends. One
// peer alone sends nothing.
func BusFactor(size int) float64 {
	return 2 * float64(size-1) / float64(size)
}
