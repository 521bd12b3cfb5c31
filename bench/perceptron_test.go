package bench

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/ringrun/ringrun/elastic"
	"github.com/ringrun/ringrun/membership"
)

var smallPerceptron = Perceptron{Widths: []int{20, 16, 16, 10}, Batch: 8, Time: 20 * time.Millisecond, Warmup: 30, Rate: 0.5}

func (p Perceptron) alone(t testing.TB) TrainResult {
	t.Helper()
	var out TrainResult
	cfg := elastic.Config{Membership: membership.Config{Found: true, Run: t.Name(), Secret: []byte("a secret of the test")}}
	err := elastic.Run(t.Context(), cfg, func(ctx context.Context, g *elastic.Group) error {
		return p.Run(g, func(r Result) { out = *r.Train })
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The perceptron learns its batch, with either product, and says how fast.
func TestPerceptron(t *testing.T) {
	p := smallPerceptron
	ours := p.alone(t)
	p.Gonum = true
	gonum := p.alone(t)
	p.Warmup = 2
	start := p.alone(t)
	if math.Abs(ours.Loss-gonum.Loss) > 1e-4 || ours.Loss > 0.8*start.Loss {
		t.Errorf("loss %v, with gonum %v, at the start %v", ours.Loss, gonum.Loss, start.Loss)
	}
	if ours.Peer != "ringrun" || gonum.Peer != "ringrun-gonum" || ours.Size != 1 || ours.Steps < 2 || ours.MedianMS <= 0 || ours.Rate <= 0 {
		t.Errorf("results %+v and %+v", ours, gonum)
	}
}

// PyTorch, if it is here, comes to the same loss from the same weights.
func TestTorchDoesTheSame(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Python")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	torch, err := FindTorch(ctx, t.TempDir())
	if errors.Is(err, ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	want := smallPerceptron.alone(t)
	got, err := torch.Train(ctx, smallPerceptron, 1)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(got.Loss-want.Loss) > 1e-3*want.Loss || got.Size != 1 || got.MedianMS <= 0 {
		t.Errorf("torch says %+v, we %+v", got, want)
	}
	if two, err := torch.Train(ctx, smallPerceptron, 2); err != nil || two.Size != 2 || two.Loss == got.Loss {
		t.Errorf("two peers: %+v, %v", two, err)
	}
}

func TestNoTorch(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := FindTorch(t.Context(), t.TempDir(), "/does/not/exist"); err != nil && !errors.Is(err, ErrNotInstalled) {
		t.Errorf("error %v, want ErrNotInstalled", err)
	}
}
