package main

const (
	side       = 28 // pixels
	imageBytes = side * side
	classes    = 10
)

// samples are images and their labels.
type samples struct {
	pixels []byte // imageBytes each, 0 to 255
	labels []byte
}

func (s *samples) count() int { return len(s.labels) }

// split cuts s into its first n samples and the rest.
func (s *samples) split(n int) (a, b *samples) {
	return &samples{s.pixels[:n*imageBytes], s.labels[:n]}, &samples{s.pixels[n*imageBytes:], s.labels[n:]}
}

// fill writes the samples with the given numbers into the rows of a batch, x as
// brightness from 0 to 1 and y as one-hot labels. The rows that are left become
// zero in both, so that they add nothing to the loss.
func (s *samples) fill(x, y []float32, numbers []int) {
	clear(x)
	clear(y)
	for row, n := range numbers {
		for i, p := range s.pixels[n*imageBytes : (n+1)*imageBytes] {
			x[row*imageBytes+i] = float32(p) / 255
		}
		y[row*classes+int(s.labels[n])] = 1
	}
}
