package main

import (
	"math"
	"math/rand/v2"
)

// A point lies in the box that a digit is drawn in: x to the right from 0 to 1,
// y downwards from 0 to 1.
type point struct{ x, y float64 }

// A stroke is a line through points, drawn with one thickness.
type stroke []point

// glyphs are the ways to write each digit, each a list of strokes.
var glyphs = [classes][][]stroke{
	0: {
		{arc(.5, .5, .32, .45, 0, 360)},
		{arc(.5, .5, .22, .45, 0, 360)},
		{arc(.5, .5, .32, .45, -60, 290)}, // not quite closed
	},
	1: {
		{{{.5, .05}, {.5, .95}}},
		{{{.32, .25}, {.55, .05}, {.55, .95}}},
		{{{.3, .25}, {.5, .05}, {.5, .95}}, {{.28, .95}, {.72, .95}}}, // with a foot
	},
	2: {
		{join(arc(.5, .32, .28, .27, 190, 390), stroke{{.22, .95}, {.8, .95}})},
		{join(arc(.48, .3, .26, .25, 200, 400), arc(.36, .82, .14, .12, 0, -300), stroke{{.82, .92}})}, // with a loop
		{join(stroke{{.22, .12}, {.7, .1}}, arc(.55, .3, .2, .2, -60, 40), stroke{{.2, .95}, {.82, .9}})},
	},
	3: {
		{join(arc(.47, .28, .27, .23, 200, 440), arc(.47, .73, .3, .23, 280, 520))},
		{{{.25, .06}, {.75, .06}, {.45, .42}}, join(stroke{{.45, .42}}, arc(.47, .69, .28, .26, 290, 520))}, // flat top
	},
	4: {
		{{{.62, .95}, {.62, .05}, {.18, .65}, {.85, .65}}},
		{{{.3, .08}, {.24, .52}, {.78, .52}}, {{.72, .08}, {.68, .95}}}, // open
	},
	5: {
		{join(stroke{{.75, .06}, {.3, .06}, {.26, .45}}, arc(.47, .68, .28, .26, 240, 500))},
		{join(stroke{{.3, .1}, {.28, .48}}, arc(.46, .7, .26, .24, 250, 510)), {{.3, .1}, {.8, .06}}},
	},
	6: {
		{join(stroke{{.68, .06}, {.36, .4}}, arc(.49, .69, .25, .25, 200, 560))},
		{join(arc(.62, .45, .38, .4, 280, 180), arc(.5, .7, .26, .24, 180, 540))},
	},
	7: {
		{{{.2, .06}, {.8, .06}, {.42, .95}}},
		{{{.2, .1}, {.8, .06}, {.45, .95}}, {{.35, .5}, {.75, .48}}}, // crossed
		{{{.22, .22}, {.24, .06}, {.78, .08}}, {{.78, .08}, {.55, .45}, {.5, .95}}},
	},
	8: {
		{arc(.5, .28, .22, .22, 0, 360), arc(.5, .73, .28, .23, 0, 360)},
		{join(arc(.5, .28, .22, .22, 90, -270), arc(.5, .73, .27, .23, -90, 270))}, // one stroke
	},
	9: {
		{arc(.5, .31, .25, .25, 0, 360), {{.75, .31}, {.68, .95}}},
		{join(arc(.48, .3, .25, .24, 0, 360), arc(.4, .5, .33, .44, 0, 100))},
	},
}

// arc returns part of an ellipse, from one angle to another in degrees: 0 is to
// the right, 90 down.
func arc(cx, cy, rx, ry, from, to float64) stroke {
	steps := int(math.Abs(to-from)/20) + 2
	s := make(stroke, steps+1)
	for i := range s {
		a := (from + (to-from)*float64(i)/float64(steps)) * math.Pi / 180
		s[i] = point{cx + rx*math.Cos(a), cy + ry*math.Sin(a)}
	}
	return s
}

// join returns strokes drawn without lifting the pen.
func join(strokes ...stroke) stroke {
	var out stroke
	for _, s := range strokes {
		out = append(out, s...)
	}
	return out
}

// generate draws n samples, from number first on. Sample i of a seed is always
// the same, whatever else is drawn.
func generate(seed uint64, first, n int) *samples {
	s := &samples{pixels: make([]byte, n*imageBytes), labels: make([]byte, n)}
	for i := range n {
		rng := rand.New(rand.NewPCG(seed, uint64(first+i)))
		s.labels[i] = byte(rng.IntN(classes))
		draw(s.pixels[i*imageBytes:(i+1)*imageBytes], int(s.labels[i]), rng)
	}
	return s
}

// How much the samples differ: a model that only weighs pixels must not cope.
const (
	maxTurn   = 0.30 // radians, either way
	maxShear  = 0.28
	minSize   = 15.0 // pixels
	maxSize   = 21.0
	maxShift  = 2.2 // pixels, either way
	minPen    = 0.7 // pixels, half the width of a line
	maxPen    = 1.7
	wobble    = 0.035 // of each point, standard deviation
	noise     = 0.10  // of each pixel, standard deviation
	noiseRate = 0.5   // largest share of pixels with noise
)

// draw rasterises one digit.
func draw(pixels []byte, digit int, rng *rand.Rand) {
	ways := glyphs[digit]
	ink := make([]float64, imageBytes)
	place := placement(rng)
	pen := between(rng, minPen, maxPen)
	for _, s := range ways[rng.IntN(len(ways))] {
		points := make(stroke, len(s))
		for i, p := range s {
			points[i] = place(point{p.x + wobble*rng.NormFloat64(), p.y + wobble*rng.NormFloat64()})
		}
		for i := range points[1:] {
			line(ink, points[i], points[i+1], pen)
		}
	}
	rate := rng.Float64() * noiseRate
	for i, v := range ink {
		if rng.Float64() < rate {
			v += noise * rng.NormFloat64()
		}
		pixels[i] = byte(255*min(max(v, 0), 1) + .5)
	}
}

// placement returns a random map from the box of a digit to pixels.
func placement(rng *rand.Rand) func(point) point {
	sin, cos := math.Sincos(between(rng, -maxTurn, maxTurn))
	shear := between(rng, -maxShear, maxShear)
	w, h := between(rng, minSize, maxSize), between(rng, minSize, maxSize)
	dx, dy := between(rng, -maxShift, maxShift), between(rng, -maxShift, maxShift)
	return func(p point) point {
		x, y := (p.x-.5)*w, (p.y-.5)*h
		x += shear * y
		return point{side/2 + dx + x*cos - y*sin, side/2 + dy + x*sin + y*cos}
	}
}

func between(rng *rand.Rand, lo, hi float64) float64 { return lo + (hi-lo)*rng.Float64() }

// line adds a line from a to b: full ink within the pen's radius, none from one
// pixel further out.
func line(ink []float64, a, b point, pen float64) {
	reach := pen + 1
	x0, x1 := pixelRange(a.x, b.x, reach)
	y0, y1 := pixelRange(a.y, b.y, reach)
	for y := y0; y < y1; y++ {
		for x := x0; x < x1; x++ {
			d := distance(point{float64(x) + .5, float64(y) + .5}, a, b)
			i := y*side + x
			ink[i] = max(ink[i], min(1, reach-d))
		}
	}
}

func pixelRange(a, b, reach float64) (lo, hi int) {
	return max(0, int(min(a, b)-reach)), min(side, int(max(a, b)+reach)+1)
}

// distance returns how far p is from the line between a and b.
func distance(p, a, b point) float64 {
	dx, dy := b.x-a.x, b.y-a.y
	t := 0.0
	if l := dx*dx + dy*dy; l > 0 {
		t = min(max(((p.x-a.x)*dx+(p.y-a.y)*dy)/l, 0), 1)
	}
	return math.Hypot(p.x-a.x-t*dx, p.y-a.y-t*dy)
}
