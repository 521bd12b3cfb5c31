package main

import (
	"bytes"
	"testing"
)

func TestDigitsDependOnSeedAndNumberOnly(t *testing.T) {
	all := generate(9, 0, 20)
	part := generate(9, 12, 8)
	if !bytes.Equal(part.pixels, all.pixels[12*imageBytes:]) || !bytes.Equal(part.labels, all.labels[12:]) {
		t.Error("samples 12 to 19 differ when they are drawn without those before")
	}
	if other := generate(10, 0, 20); bytes.Equal(other.pixels, all.pixels) {
		t.Error("seeds 9 and 10 draw the same")
	}
}

// Every digit is drawn about equally often, with ink on the canvas and not all
// over it.
func TestDigitsAreThere(t *testing.T) {
	s := generate(4, 0, 2000)
	var count [classes]int
	for i := range s.count() {
		count[s.labels[i]]++
		ink := 0
		for _, p := range s.pixels[i*imageBytes : (i+1)*imageBytes] {
			if p > 127 {
				ink++
			}
		}
		if ink < 10 || ink > imageBytes/2 {
			t.Errorf("sample %d, a %d, has %d bright pixels", i, s.labels[i], ink)
		}
	}
	for d, n := range count {
		if n < 140 || n > 260 {
			t.Errorf("digit %d comes %d times in 2000", d, n)
		}
	}
}

func TestFillLeavesRestZero(t *testing.T) {
	s := generate(1, 0, 3)
	x, y := make([]float32, 2*imageBytes), make([]float32, 2*classes)
	s.fill(x, y, []int{0, 1})
	s.fill(x, y, []int{2})
	for i, p := range s.pixels[2*imageBytes:] {
		if x[i] != float32(p)/255 {
			t.Fatalf("pixel %d is %v, want %d/255", i, x[i], p)
		}
	}
	for i := range classes {
		want := float32(0)
		if i == int(s.labels[2]) {
			want = 1
		}
		if y[i] != want {
			t.Errorf("y[%d] = %v, want %v", i, y[i], want)
		}
	}
	for i, v := range append(x[imageBytes:], y[classes:]...) {
		if v != 0 {
			t.Fatalf("element %d of the empty row is %v", i, v)
		}
	}
}
