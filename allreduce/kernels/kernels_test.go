package kernels_test

import (
	"slices"
	"testing"

	"github.com/ringrun/ringrun/allreduce/kernels"
)

// TestKernels runs every kernel once: what they compute is tested where they
// are, here they must fit the memory.
func TestKernels(t *testing.T) {
	const size = 3 << 10
	seen := make(map[string][]string)
	for _, k := range kernels.NewMemory(size).Kernels(size) {
		k.Run()
		if slices.Contains(seen[k.Level], k.Name) {
			t.Errorf("two kernels %q of level %s", k.Name, k.Level)
		}
		if k.Traffic < 1 {
			t.Errorf("%s moves %v bytes for each of the vector", k.Name, k.Traffic)
		}
		seen[k.Level] = append(seen[k.Level], k.Name)
	}
	if !slices.Contains(seen["go"], kernels.Copy) {
		t.Errorf("no kernel %q among %v", kernels.Copy, seen["go"])
	}
}

func BenchmarkKernels(b *testing.B) {
	const size = 64 << 10
	for _, k := range kernels.NewMemory(size).Kernels(size) {
		b.Run("op="+k.Name+"/level="+k.Level, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				k.Run()
			}
		})
	}
}
