package main

import (
	"io"
	"sync"
)

// An outbox writes to an agent in a goroutine of its own, so that whoever sends
// never waits. The agent reads nothing while it starts a worker, and that may have
// to wait until the launcher takes its events: the two would wait for each other.
type outbox struct {
	to   io.WriteCloser
	sent chan struct{} // closed when all is written, and to is closed

	mu    sync.Mutex // guards the fields below
	more  sync.Cond
	lines [][]byte
	ended bool // none will follow
}

func newOutbox(to io.WriteCloser) *outbox {
	o := &outbox{to: to, sent: make(chan struct{})}
	o.more.L = &o.mu
	go o.run() // until close, or to can take no more
	return o
}

// put takes a line, which belongs to the outbox from then on. After close it does
// nothing.
func (o *outbox) put(line []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.ended {
		o.lines = append(o.lines, line)
		o.more.Signal()
	}
}

// close lets what was put be written, and then closes to. It does not wait.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.more.Signal()
}

func (o *outbox) run() {
	defer close(o.sent)
	defer o.to.Close()
	for line := o.take(); line != nil; line = o.take() {
		if _, err := o.to.Write(line); err != nil {
			o.close() // the agent is gone, and its reader says so
			return
		}
	}
}

// take waits for a line, and returns nil after the last one.
func (o *outbox) take() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.lines) == 0 && !o.ended {
		o.more.Wait()
	}
	if len(o.lines) == 0 {
		return nil
	}
	line := o.lines[0]
	o.lines = o.lines[1:]
	return line
}
