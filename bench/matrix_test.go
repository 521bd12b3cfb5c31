package bench

import (
	"context"
	"strings"
	"testing"

	"github.com/ringrun/ringrun/allreduce"
)

func TestMatrix(t *testing.T) {
	for _, size := range []int{1, 2, 3} {
		var got []MatrixResult
		onRing(t, size, "raw", func(ctx context.Context, c *allreduce.Comm) error {
			return Job{Matrix: &Matrix{}}.Run(ctx, c, func(r Result) { got = append(got, *r.Matrix) }, func(string) {})
		})
		if len(got) != 1 || got[0].Size != size || len(got[0].MBps) != size || len(got[0].Order) != size {
			t.Fatalf("%d peers: %+v", size, got)
		}
		r := got[0]
		for i := range size {
			for j := range size {
				if i != j && (r.MBps[i][j] <= 0 || r.Latency[i][j] <= 0 || r.MBps[i][j] != r.MBps[j][i]) {
					t.Errorf("from %d to %d: %v MB/s, %v us", i, j, r.MBps[i][j], r.Latency[i][j])
				}
			}
		}
		if size > 1 && (r.Best < r.Slowest || r.Slowest <= 0) {
			t.Errorf("slowest %v, in the best order %v", r.Slowest, r.Best)
		}
		var text strings.Builder
		r.Write(&text)
		if lines := strings.Count(text.String(), "\n"); lines != 4+2*size+min(1, size-1) {
			t.Errorf("%d lines:\n%s", lines, text.String())
		}
	}
}
