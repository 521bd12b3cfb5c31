package ringtest

import "github.com/ringrun/ringrun/ring"

// A pollable is a link that can be polled; see Options.Pollable.
type pollable struct {
	*link
	begun ring.Header
	left  []byte
}

// Poll implements ring.Pollable.
func (l *pollable) Poll() (ring.Header, bool, error) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	return l.take()
}

// TryRead implements ring.Pollable: a frame arrives as a whole.
func (l *pollable) TryRead(p []byte) (int, error) { return l.Read(p) }

// Await implements ring.Pollable.
func (l *pollable) Await() error {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	for {
		ok, err := l.here()
		if l.closed {
			return err
		}
		if ok || err != nil {
			return nil // Poll says which
		}
		l.in.changed.Wait()
	}
}

// Begin implements ring.Pollable.
func (l *pollable) Begin(h ring.Header, body []byte) { l.begun, l.left = h, body }

// Push implements ring.Pollable: a frame is sent as a whole.
func (l *pollable) Push(wait bool) (bool, error) {
	l.net.mu.Lock()
	full := !wait && l.full(len(l.left))
	l.net.mu.Unlock()
	if full {
		return false, nil
	}
	return true, l.Send(l.begun, l.left)
}
