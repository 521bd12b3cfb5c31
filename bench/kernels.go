package bench

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"time"

	"github.com/ringrun/ringrun/allreduce/kernels"
)

// Kernels measures the inner loops of this machine, one at a time on one core.
type Kernels struct {
	Sizes   []int // bytes of the vectors: multiples of KernelUnit
	Rounds  int
	MinTime time.Duration  // of one kernel in a round
	Only    *regexp.Regexp // kernels, besides copy; default: all
	// Progress is told what is going on; optional.
	Progress func(string)
}

// KernelUnit is what the sizes of Kernels must be multiples of.
const KernelUnit = 1024

// A KernelResult is how fast one form of a loop was with one size of vectors.
type KernelResult struct {
	Kernel  string  `json:"kernel"`
	Level   string  `json:"level"`
	Bytes   int     `json:"bytes"`
	GBps    float64 `json:"gbps"` // of the vector; the median of the rounds
	Low     float64 `json:"gbps_low"`
	High    float64 `json:"gbps_high"`
	Traffic float64 `json:"traffic_gbps"` // all that is read and written
	OfCopy  float64 `json:"of_copy"`      // traffic over that of a copy
	OfBest  float64 `json:"of_best"`      // traffic over the most that any kernel had
}

// Run measures all kernels of all levels. In a round each has its turn, so that
// whatever disturbs the machine disturbs all of them. The results go by kernel,
// then by level, then by size.
func (k Kernels) Run(ctx context.Context) ([]KernelResult, error) {
	memory := kernels.NewMemory(slices.Max(k.Sizes))
	var bySize [][]KernelResult
	for _, size := range k.Sizes {
		results, err := k.size(ctx, memory, size)
		if err != nil {
			return nil, err
		}
		bySize = append(bySize, results)
	}
	var all []KernelResult
	for i := range bySize[0] {
		for _, results := range bySize {
			all = append(all, results[i])
		}
	}
	first := make(map[string]int)
	for i, r := range all {
		if _, ok := first[r.Kernel]; !ok {
			first[r.Kernel] = i
		}
	}
	slices.SortStableFunc(all, func(a, b KernelResult) int { return first[a.Kernel] - first[b.Kernel] })
	return all, nil
}

func (k Kernels) size(ctx context.Context, memory *kernels.Memory, size int) ([]KernelResult, error) {
	list := slices.DeleteFunc(memory.Kernels(size), func(f kernels.Kernel) bool {
		return k.Only != nil && f.Name != kernels.Copy && !k.Only.MatchString(f.Name)
	})
	times := make([][]time.Duration, len(list))
	for round := range k.Rounds {
		for i, f := range list {
			if k.Progress != nil {
				k.Progress(fmt.Sprintf("%s, round %d of %d: %s, %s", FormatSize(size), round+1, k.Rounds, f.Name, f.Level))
			}
			if err := ctx.Err(); err != nil {
				return nil, context.Cause(ctx)
			}
			times[i] = append(times[i], k.time(f.Run))
		}
	}
	results := make([]KernelResult, len(list))
	for i, f := range list {
		gb := float64(size) / 1e9
		r := KernelResult{Kernel: f.Name, Level: f.Level, Bytes: size}
		r.GBps = rate(gb, quantile(times[i], 0.5))
		r.Low, r.High = rate(gb, slices.Max(times[i])), rate(gb, slices.Min(times[i]))
		r.Traffic = r.GBps * f.Traffic
		results[i] = r
	}
	compare(results)
	return results, nil
}

// time returns how long f takes, on average over at least MinTime.
func (k Kernels) time(f func()) time.Duration {
	f() // the caches are now as they will be
	for n := 1; ; n *= 2 {
		start := time.Now()
		for range n {
			f()
		}
		if d := time.Since(start); d >= k.MinTime {
			return d / time.Duration(n)
		}
	}
}

// compare fills in the ratios between results of one size.
func compare(results []KernelResult) {
	var copied, best float64
	for _, r := range results {
		best = max(best, r.Traffic)
		if r.Kernel == kernels.Copy {
			copied = r.Traffic
		}
	}
	for i, r := range results {
		results[i].OfCopy = share(r.Traffic, copied)
		results[i].OfBest = share(r.Traffic, best)
	}
}

// WriteKernels writes results as a table with one line for each kernel and level.
func WriteKernels(w io.Writer, results []KernelResult) {
	var sizes []int
	for _, r := range results {
		if !slices.Contains(sizes, r.Bytes) {
			sizes = append(sizes, r.Bytes)
		}
	}
	fmt.Fprintf(w, "#%-27s %-8s", "kernel", "level")
	for _, s := range sizes {
		fmt.Fprintf(w, " | %8s %9s %8s %8s", FormatSize(s), "traffic", "of copy", "of best")
	}
	fmt.Fprintf(w, "\n#%-27s %-8s", "", "")
	for range sizes {
		fmt.Fprintf(w, " | %8s %9s %8s %8s", "(GB/s)", "(GB/s)", "", "")
	}
	for i, r := range results {
		if i%len(sizes) == 0 {
			fmt.Fprintf(w, "\n %-27s %-8s", r.Kernel, r.Level)
		}
		fmt.Fprintf(w, " | %8.1f %9.1f %8.2f %8.2f", r.GBps, r.Traffic, r.OfCopy, r.OfBest)
	}
	fmt.Fprintln(w)
}
