package bridge

import (
	"fmt"
	"math"

	"gorgonia.org/tensor"
)

// Planes are the elements of a tensor (rows, channels, …) by row and channel.
type planes struct {
	dense                *tensor.Dense
	all                  array
	rows, channels, area int
}

func planesOf(d *tensor.Dense) (planes, error) {
	a, err := arrayOfDense(d)
	if err != nil {
		return planes{}, fmt.Errorf("bridge: what is normalised %w", err)
	}
	s := d.Shape()
	return planes{d, a, s[0], s[1], s.TotalSize() / (s[0] * s[1])}, nil
}

// each calls f for the elements of the first rows, with their channel.
func (p planes) each(rows int, f func(channel, i int)) {
	i := 0
	for range rows {
		for c := range p.channels {
			for range p.area {
				f(c, i)
				i++
			}
		}
	}
}

// Moments are, for each channel, the mean of some elements and the sum of the
// squares of what they are away from it. They are float64, whatever the elements.
type moments struct {
	count  float64
	mean   []float64
	square []float64
}

// momentsOf returns those of the first rows.
func momentsOf(x planes, rows int) moments {
	m := moments{float64(rows * x.area), make([]float64, x.channels), make([]float64, x.channels)}
	if rows == 0 {
		return m
	}
	x.each(rows, func(c, i int) { m.mean[c] += x.all.element(i) })
	for c := range m.mean {
		m.mean[c] /= m.count
	}
	x.each(rows, func(c, i int) {
		away := x.all.element(i) - m.mean[c]
		m.square[c] += away * away
	})
	return m
}

// runningMoments returns moments with the variance given.
func runningMoments(mean, variance array) moments {
	m := moments{count: 1}
	for c := range mean.len() {
		m.mean, m.square = append(m.mean, mean.element(c)), append(m.square, variance.element(c))
	}
	return m
}

// merge takes in the moments of other elements (Chan, Golub, LeVeque, 1979).
func (m *moments) merge(o moments) {
	if o.count == 0 {
		return
	}
	n := m.count + o.count
	for c := range m.mean {
		away := o.mean[c] - m.mean[c]
		m.mean[c] += away * o.count / n
		m.square[c] += o.square[c] + away*away*m.count*o.count/n
	}
	m.count = n
}

// numbers returns what the moments are made of, in order.
func (m moments) numbers() []float64 {
	return append(append([]float64{m.count}, m.mean...), m.square...)
}

// momentsFrom is the opposite of numbers.
func momentsFrom(x []float64) moments {
	n := (len(x) - 1) / 2
	return moments{x[0], x[1 : 1+n : 1+n], x[1+n:]}
}

// normalise subtracts the mean and divides by the deviation.
func (m moments) normalise(x, out planes, epsilon float64) {
	by := m.scales(epsilon)
	x.each(x.rows, func(c, i int) { out.all.setElement(i, (x.all.element(i)-m.mean[c])*by[c]) })
}

// scales returns one by the deviation of each channel.
func (m moments) scales(epsilon float64) []float64 {
	by := make([]float64, len(m.mean))
	for c := range by {
		by[c] = 1 / math.Sqrt(m.square[c]/m.count+epsilon)
	}
	return by
}

// follow lets running statistics follow these.
func (m moments) follow(mean, variance array, momentum float64) {
	for c := range m.mean {
		mean.setElement(c, momentum*m.mean[c]+(1-momentum)*mean.element(c))
		variance.setElement(c, momentum*m.square[c]/max(m.count-1, 1)+(1-momentum)*variance.element(c))
	}
}

// products returns the sums, over the first rows, of dy and of dy times what x is
// away from the mean: for each channel.
func (m moments) products(x, dy planes, rows int) []float64 {
	sums := make([]float64, 2*x.channels)
	x.each(rows, func(c, i int) {
		d := dy.all.element(i)
		sums[c] += d
		sums[x.channels+c] += d * (x.all.element(i) - m.mean[c])
	})
	return sums
}

// gradient computes that of x, given the products of all rows. Rows that are not
// in the moments have none.
func (m moments) gradient(x, dy, out planes, sums []float64, rows int, epsilon float64) {
	by := m.scales(epsilon)
	x.each(rows, func(c, i int) {
		away := x.all.element(i) - m.mean[c]
		d := dy.all.element(i) - sums[c]/m.count - away*by[c]*by[c]*sums[x.channels+c]/m.count
		out.all.setElement(i, d*by[c])
	})
}
