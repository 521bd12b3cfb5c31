package bridge

import "math"

type float interface{ float32 | float64 }

// Planes are the elements of a tensor (rows, channels, …): for each row and
// channel, the area behind them.
type planes[T float] struct {
	all                  []T
	rows, channels, area int
}

// each calls f for the planes of the first rows, each from lo to hi.
func (p planes[T]) each(rows int, f func(channel, lo, hi int)) {
	lo := 0
	for range rows {
		for c := range p.channels {
			f(c, lo, lo+p.area)
			lo += p.area
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

func newMoments(channels int) moments {
	return moments{mean: make([]float64, channels), square: make([]float64, channels)}
}

// momentsOf returns those of the first rows.
func momentsOf[T float](x planes[T], rows int) moments {
	m := newMoments(x.channels)
	if m.count = float64(rows * x.area); rows == 0 {
		return m
	}
	x.each(rows, func(c, lo, hi int) {
		sum := 0.0
		for _, v := range x.all[lo:hi] {
			sum += float64(v)
		}
		m.mean[c] += sum
	})
	for c := range m.mean {
		m.mean[c] /= m.count
	}
	x.each(rows, func(c, lo, hi int) {
		mean, sum := m.mean[c], 0.0
		for _, v := range x.all[lo:hi] {
			away := float64(v) - mean
			sum += float64(away * away)
		}
		m.square[c] += sum
	})
	return m
}

// runningMoments returns moments with the mean and variance given.
func runningMoments(mean, variance array) moments {
	m := newMoments(mean.len())
	m.count = 1
	for c := range m.mean {
		m.mean[c], m.square[c] = mean.element(c), variance.element(c)
	}
	return m
}

// merge takes in the moments of other elements (Chan, Golub, LeVeque, 1979). It
// rounds alike on all processors.
func (m *moments) merge(o moments) {
	if o.count == 0 {
		return
	}
	n := m.count + o.count
	for c := range m.mean {
		away := o.mean[c] - m.mean[c]
		m.mean[c] += float64(away * o.count / n)
		m.square[c] += o.square[c] + float64(float64(away*away)*m.count*o.count/n)
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

// scales returns one by the deviation of each channel.
func (m moments) scales(epsilon float64) []float64 {
	by := make([]float64, len(m.mean))
	for c := range by {
		by[c] = 1 / math.Sqrt(m.square[c]/m.count+epsilon)
	}
	return by
}

// normalised returns x less the mean, times one by the deviation.
func normalised[T float](m moments, x planes[T], epsilon float64) []T {
	out, by := make([]T, len(x.all)), m.scales(epsilon)
	x.each(x.rows, func(c, lo, hi int) {
		mean, by, to := m.mean[c], by[c], out[lo:hi]
		for i, v := range x.all[lo:hi] {
			to[i] = T((float64(v) - mean) * by)
		}
	})
	return out
}

// follow lets running statistics follow these.
func (m moments) follow(mean, variance array, momentum float64) {
	for c := range m.mean {
		mean.setElement(c, float64(momentum*m.mean[c])+float64((1-momentum)*mean.element(c)))
		variance.setElement(c, float64(momentum*m.square[c]/max(m.count-1, 1))+float64((1-momentum)*variance.element(c)))
	}
}

// products returns the sums, over the first rows, of dy and of dy times what x is
// away from the mean: for each channel.
func products[T float](m moments, x, dy planes[T], rows int) []float64 {
	sums := make([]float64, 2*x.channels)
	x.each(rows, func(c, lo, hi int) {
		mean, sum, dot, d := m.mean[c], 0.0, 0.0, dy.all[lo:hi]
		for i, v := range x.all[lo:hi] {
			sum += float64(d[i])
			dot += float64(d[i]) * (float64(v) - mean)
		}
		sums[c] += sum
		sums[x.channels+c] += dot
	})
	return sums
}

// gradientOf returns that of x, given the products of all peers' rows. Rows that
// are not in the moments have none.
func gradientOf[T float](m moments, x, dy planes[T], sums []float64, rows int, epsilon float64) []T {
	out, by := make([]T, len(x.all)), m.scales(epsilon)
	x.each(rows, func(c, lo, hi int) {
		mean, by, d, to := m.mean[c], by[c], dy.all[lo:hi], out[lo:hi]
		sum, dot := sums[c]/m.count, by*by*sums[x.channels+c]/m.count
		for i, v := range x.all[lo:hi] {
			to[i] = T((float64(d[i]) - sum - (float64(v)-mean)*dot) * by)
		}
	})
	return out
}
