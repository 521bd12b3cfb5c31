package main

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestWear(t *testing.T) {
	now := time.Now()
	var w wear
	if w.count(now) != 0 || w.rest(now) != 0 {
		t.Errorf("a new place has failed %d times and rests for %v", w.count(now), w.rest(now))
	}
	for i := range 4 {
		w.add(now.Add(time.Duration(i) * time.Second))
	}
	now = now.Add(3 * time.Second)
	if got := w.count(now); got != 4 {
		t.Errorf("4 failures count as %d", got)
	}
	if got := now.Sub(w.first); got != 3*time.Second {
		t.Errorf("the first was %v ago, want 3s", got)
	}
	if got := w.rest(now); (got - 3*wearHalf).Abs() > time.Minute {
		t.Errorf("it rests for %v, want about %v", got, 3*wearHalf)
	}
	if got := w.value(now.Add(wearHalf)); math.Abs(got-2) > 0.01 {
		t.Errorf("after %v 4 failures are worth %.2f, want 2", wearHalf, got)
	}
	later := now.Add(w.rest(now) + time.Second)
	w.add(later)
	if w.count(later) != 1 || !w.first.Equal(later) {
		t.Errorf("after its rest a failure is number %d, since %v", w.count(later), later.Sub(w.first))
	}
}

func TestPause(t *testing.T) {
	for _, tt := range []struct {
		failures int
		chance   float64
		want     time.Duration
	}{
		{1, 0.5, time.Second}, {1, 0, 750 * time.Millisecond}, {1, 1, 1250 * time.Millisecond},
		{2, 0.5, 2 * time.Second}, {5, 0.5, 16 * time.Second},
		{7, 0.5, time.Minute}, {1000, 0.5, time.Minute}, {0, 0.5, time.Second},
	} {
		if got := pause(tt.failures, tt.chance); got != tt.want {
			t.Errorf("pause(%d, %v) = %v, want %v", tt.failures, tt.chance, got, tt.want)
		}
	}
}

// However long this machine pauses, a beat is one.
func TestAgendaInBeats(t *testing.T) {
	a, done := newAgenda(), false
	a.afterBeats(3, time.Hour, func() { done = true })
	for beat := range 3 {
		if done {
			t.Fatalf("done after %d beats of 3", beat)
		}
		a.tasks[0].at = time.Now().Add(-24 * time.Hour)
		a.due()
	}
	if !done {
		t.Error("not done after 3 beats")
	}
}

func TestAgenda(t *testing.T) {
	a := newAgenda()
	var did []string
	a.after(-time.Second, func() { did = append(did, "second") }) // what is late already is done in order, however slow we are
	a.after(time.Hour, func() { did = append(did, "too early") })
	a.after(time.Millisecond, func() { did = append(did, "soon") })
	a.after(-time.Minute, func() {
		did = append(did, "first")
		a.after(0, func() { did = append(did, "at once") })
	})
	for len(did) < 4 {
		<-a.timer.C
		a.due()
	}
	slices.Sort(did[2:])
	if want := []string{"first", "second", "at once", "soon"}; !slices.Equal(did, want) {
		t.Errorf("done: %q, want %q", did, want)
	}
}
