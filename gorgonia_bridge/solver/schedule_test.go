package solver

import (
	"math"
	"testing"
)

func TestSchedules(t *testing.T) {
	type at struct {
		step int
		rate float64
	}
	for _, tt := range []struct {
		name string
		s    Schedule
		want []at
	}{
		{"constant", Constant(0.1), []at{{0, 0.1}, {1000000, 0.1}}},
		{"linear scaling", LinearScaling(Constant(0.1), 8, 10), []at{{0, 0.1}, {1, 0.17}, {5, 0.45}, {9, 0.73}, {10, 0.8}, {11, 0.8}}},
		{"linear scaling at once", LinearScaling(Constant(0.1), 8, 0), []at{{0, 0.8}, {1, 0.8}}},
		{"linear scaling of one peer", LinearScaling(Constant(0.1), 1, 10), []at{{0, 0.1}, {5, 0.1}, {20, 0.1}}},
		{"linear scaling, then steps", LinearScaling(StepDecay(0.1, 0.1, 30, 60), 4, 10), []at{{0, 0.1}, {10, 0.4}, {29, 0.4}, {30, 0.04}, {60, 0.004}}},
		{"warm-up", WarmUp(Constant(0.1), 4), []at{{0, 0.025}, {1, 0.05}, {3, 0.1}, {4, 0.1}}},
		{"no warm-up", WarmUp(Constant(0.1), 0), []at{{0, 0.1}}},
		{"steps", StepDecay(1, 0.5, 3, 7), []at{{0, 1}, {2, 1}, {3, 0.5}, {6, 0.5}, {7, 0.25}, {100, 0.25}}},
		{"no steps", StepDecay(1, 0.5), []at{{100, 1}}},
		{"cosine", Cosine(1, 0, 100), []at{{0, 1}, {25, (1 + math.Sqrt2/2) / 2}, {50, 0.5}, {75, (1 - math.Sqrt2/2) / 2}, {100, 0}, {101, 0}}},
		{"cosine to a floor", Cosine(1, 0.2, 100), []at{{0, 1}, {50, 0.6}, {100, 0.2}, {200, 0.2}}},
		{"cosine of no steps", Cosine(1, 0.2, 0), []at{{0, 0.2}}},
		{"line", Polynomial(1, 0, 4, 1), []at{{0, 1}, {1, 0.75}, {3, 0.25}, {4, 0}, {5, 0}}},
		{"square", Polynomial(1, 0.5, 4, 2), []at{{0, 1}, {2, 0.625}, {4, 0.5}, {5, 0.5}}},
	} {
		for _, w := range tt.want {
			if got := tt.s(w.step); math.Abs(got-w.rate) > 1e-15 {
				t.Errorf("%s: step %d has rate %v, want %v", tt.name, w.step, got, w.rate)
			}
		}
	}
}

func TestCosPi(t *testing.T) {
	for i := range 10001 {
		x := float64(i) / 10000
		if got, want := cosPi(x), math.Cos(math.Pi*x); math.Abs(got-want) > 4e-16 {
			t.Fatalf("cosPi(%v) = %v, want %v", x, got, want)
		}
	}
}
