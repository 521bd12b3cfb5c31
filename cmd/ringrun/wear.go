package main

import (
	"math"
	"math/rand/v2"
	"time"
)

const (
	wearHalf    = 10 * time.Minute // in which half of a wear is forgotten
	firstPause  = time.Second      // before the first new start
	longestRest = time.Minute      // between two attempts to reach a host
	rested      = 0.5              // a place with less wear than this is as good as new
)

// A wear counts what has failed in a place, and forgets it with time: it halves
// every wearHalf. The zero value is that of a new place.
type wear struct {
	score float64
	at    time.Time // when score was that
	first time.Time // of the failures that are not forgotten
}

func (w *wear) add(now time.Time) {
	if w.value(now) < rested {
		w.first = now
	}
	w.score, w.at = w.value(now)+1, now
}

func (w wear) value(now time.Time) float64 {
	if w.at.IsZero() {
		return 0
	}
	return w.score * math.Exp2(-now.Sub(w.at).Hours()/wearHalf.Hours())
}

// count is how many failures the value stands for.
func (w wear) count(now time.Time) int { return int(math.Round(w.value(now))) }

// rest returns how long it takes until the place is as good as new.
func (w wear) rest(now time.Time) time.Duration {
	v := w.value(now)
	if v <= rested {
		return 0
	}
	return time.Duration(math.Log2(v/rested) * float64(wearHalf))
}

// pause returns how long to wait after so many failures: twice as long with each,
// and a quarter more or less, so that those who fail together do not come back
// together. chance is from 0 to 1.
func pause(failures int, chance float64) time.Duration {
	d := firstPause << min(max(failures-1, 0), 10)
	return time.Duration(float64(min(d, longestRest)) * (0.75 + chance/2))
}

func randomPause(failures int) time.Duration { return pause(failures, rand.Float64()) }
