package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	progressAfter = time.Second            // a copy that takes longer is shown
	progressEvery = 200 * time.Millisecond // at most so often
	copyNews      = 3 * time.Second        // what took longer is told when it is over
	maxStatus     = 79                     // columns of any terminal
)

// A progress shows copies under way in one line of a terminal.
type progress struct {
	mu      sync.Mutex
	now     []*copying
	shown   time.Time
	visible bool
}

// A copying is one parcel on its way to one host.
type copying struct {
	out    *printer
	parcel parcel
	to     string
	alive  func()

	// Under the lock of the progress:
	begun      time.Time
	from, done int64
}

// begin returns a copy that is not shown before it starts; alive is called at
// each step.
func (p *printer) begin(what parcel, to string, alive func()) *copying {
	return &copying{out: p, parcel: what, to: to, alive: alive}
}

// start says that a number of bytes are there already.
func (c *copying) start(from int64) {
	rest := ""
	if from > 0 {
		rest = fmt.Sprintf(", going on after %s", megabytes(from))
	}
	c.out.note("copying %s (%s%s) to %s", c.parcel.name(), megabytes(c.parcel.size), rest, c.to)
	p := &c.out.progress
	p.mu.Lock()
	defer p.mu.Unlock()
	c.begun, c.from, c.done = time.Now(), from, from
	p.now = append(p.now, c)
}

// Write counts what is sent.
func (c *copying) Write(b []byte) (int, error) {
	c.alive()
	p := &c.out.progress
	p.mu.Lock()
	defer p.mu.Unlock()
	c.done += int64(len(b))
	if now := time.Now(); now.Sub(p.now[0].begun) > progressAfter && now.Sub(p.shown) > progressEvery {
		p.shown, p.visible = now, true
		c.out.status(p.line(now))
	}
	return len(b), nil
}

func (c *copying) end() {
	p := &c.out.progress
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = slices.DeleteFunc(p.now, func(o *copying) bool { return o == c })
	if len(p.now) == 0 && p.visible {
		p.visible = false
		c.out.status("")
	}
	if took := time.Since(c.begun); c.done == c.parcel.size && !c.begun.IsZero() && took > copyNews {
		c.out.note("copied %s to %s in %.0f s (%s a second)", c.parcel.name(), c.to, took.Seconds(), megabytes(c.rate(took)))
	}
}

func (c *copying) rate(took time.Duration) int64 {
	return int64(float64(c.done-c.from) / max(took.Seconds(), 1e-3))
}

// line names a few copies, the slowest first, and how long they may take.
func (p *progress) line(now time.Time) string {
	const most = 3
	left := func(c *copying) float64 {
		return float64(c.parcel.size-c.done) / float64(max(c.rate(now.Sub(c.begun)), 1))
	}
	slices.SortStableFunc(p.now, func(a, b *copying) int { return int(left(b) - left(a)) })
	var parts []string
	for _, c := range p.now[:min(most, len(p.now))] {
		parts = append(parts, fmt.Sprintf("%s to %s: %d %%", c.parcel.name(), c.to, 100*c.done/max(c.parcel.size, 1)))
	}
	if more := len(p.now) - most; more > 0 {
		parts = append(parts, fmt.Sprintf("%d more", more))
	}
	return fmt.Sprintf("copying %s; %.0f s to go", strings.Join(parts, ", "), left(p.now[0]))
}

// status shows a line under all others until it is shown another; "" removes it.
// Where there is no terminal it shows nothing.
func (p *printer) status(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.live {
		return
	}
	if runes := []rune(line); len(runes) > maxStatus {
		line = string(runes[:maxStatus-1]) + "…"
	}
	p.last = line
	_, _ = io.WriteString(p.err.w, "\r\x1b[K"+line)
}
