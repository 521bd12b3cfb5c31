package allreduce

import "github.com/ringrun/ringrun/ring"

// early is a frame that came before its collective was launched here.
type early struct {
	header ring.Header
	body   []byte
}

// hold keeps a frame for later and returns true, or false if its flow can take
// it after all. When InFlightBytes are held, it waits, but never while a
// collective or a message is in progress: its frames may be behind this one. A
// driver does not wait either: its own work may be done meanwhile.
func (l *lane) hold(e *entry, f early) bool {
	c := l.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for e.work == nil && !l.driven && l.held > c.limit && len(c.works) == 0 && len(c.letters) == 0 && !c.over && c.accuser == c.size {
		l.room.Wait()
	}
	if e.work != nil && !e.draining {
		return false
	}
	e.early = append(e.early, f)
	l.held += len(f.body) + ring.HeaderBytes
	return true
}

// drain works on the frames that came before their collective was launched.
func (l *lane) drain(e *entry) {
	c := l.c
	for {
		c.mu.Lock()
		batch := e.early
		e.early = nil
		for _, f := range batch {
			l.held -= len(f.body) + ring.HeaderBytes
		}
		if len(batch) == 0 {
			e.draining = false
			gone := l.gone
			if l.entries[e.work.seq] != e {
				gone = nil // it is complete
			}
			c.mu.Unlock()
			if gone != nil {
				c.fail(codeFault, gone)
			}
			return
		}
		c.mu.Unlock()
		for _, f := range batch {
			if err := l.takeKept(e, f); err != nil {
				l.fault(f.header, err)
				return
			}
		}
	}
}

// takeKept is take for a frame that has been kept.
func (l *lane) takeKept(e *entry, f early) error {
	b := kept(f.body)
	err := l.take(e, f.header, &b)
	l.c.buffers.put(f.body)
	return err
}
