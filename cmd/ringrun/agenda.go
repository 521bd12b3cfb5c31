package main

import (
	"slices"
	"time"
)

// An agenda holds what a goroutine has to do later. It belongs to that goroutine,
// which calls due whenever the timer fires.
type agenda struct {
	timer *time.Timer
	tasks []task // by time
}

type task struct {
	at time.Time
	do func()
}

func newAgenda() *agenda {
	a := &agenda{timer: time.NewTimer(time.Hour)}
	a.timer.Stop()
	return a
}

func (a *agenda) after(d time.Duration, do func()) {
	a.tasks = append(a.tasks, task{time.Now().Add(d), do})
	slices.SortStableFunc(a.tasks, func(x, y task) int { return x.at.Compare(y.at) })
	a.wind()
}

// afterBeats is after, in n parts: when this machine pauses, one of them passes and
// not all, and what was to happen meanwhile is heard of first.
func (a *agenda) afterBeats(n int, beat time.Duration, do func()) {
	if n == 0 {
		do()
		return
	}
	a.after(beat, func() { a.afterBeats(n-1, beat, do) })
}

// due does what is due.
func (a *agenda) due() {
	for len(a.tasks) > 0 && time.Until(a.tasks[0].at) <= 0 {
		do := a.tasks[0].do
		a.tasks = a.tasks[1:]
		do()
	}
	a.wind()
}

func (a *agenda) wind() {
	if len(a.tasks) > 0 {
		a.timer.Reset(time.Until(a.tasks[0].at))
	}
}
