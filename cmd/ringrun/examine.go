package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/ringrun/ringrun/cmd/ringrun/doctor"
)

// examine does what a doctor asks of this host. What opens a port is done before
// the next request is read.
func (a *agent) examine(r doctor.Request) {
	a.servant.Bind = bindAddress
	answer := func() {
		reply := a.servant.Serve(context.Background(), r) // which has deadlines
		a.send(event{Kind: evDoctor, Doctor: &reply})
	}
	if r.Open != nil {
		answer()
		return
	}
	a.workers.Go(answer)
}

// A ward is the launcher's end of an agent that is asked for nothing else than
// what a doctor wants to know.
type ward struct {
	conn    *conn
	reading sync.WaitGroup

	mu   sync.Mutex // guards what follows
	next int
	open map[int]chan doctor.Reply // closed when the agent is gone
	lost string
}

func newWard(c *conn) *ward {
	w := &ward{conn: c, open: map[int]chan doctor.Reply{}}
	w.reading.Go(func() { c.read(w.hear) })
	return w
}

func (w *ward) hear(e event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case e.Kind == evLost:
		w.lost = e.Text
		for id, c := range w.open {
			close(c)
			delete(w.open, id)
		}
	case e.Kind == evDoctor && e.Doctor != nil && w.open[e.Doctor.ID] != nil:
		w.open[e.Doctor.ID] <- *e.Doctor // has room for one
		delete(w.open, e.Doctor.ID)
	}
}

// ask waits for the answer.
func (w *ward) ask(ctx context.Context, r doctor.Request) (doctor.Reply, error) {
	answer, lost := w.expect(&r)
	if lost != "" {
		return doctor.Reply{}, fmt.Errorf("the agent on host %s is lost: %s", w.conn.host.name, lost)
	}
	w.conn.send(request{Doctor: &r})
	select {
	case reply, ok := <-answer:
		if !ok {
			return doctor.Reply{}, fmt.Errorf("the agent on host %s is lost", w.conn.host.name)
		}
		return reply, nil
	case <-ctx.Done():
		return doctor.Reply{}, fmt.Errorf("host %s: %w", w.conn.host.name, context.Cause(ctx))
	}
}

func (w *ward) expect(r *doctor.Request) (answer chan doctor.Reply, lost string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost != "" {
		return nil, w.lost
	}
	w.next++
	r.ID = w.next
	answer = make(chan doctor.Reply, 1)
	w.open[r.ID] = answer
	return answer, ""
}

func (w *ward) close() {
	w.conn.close()
	w.reading.Wait()
}
