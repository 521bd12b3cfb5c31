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
