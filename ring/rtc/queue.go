package rtc

import "sync"

// queue holds the messages that arrived and were not read yet.
type queue struct {
	mu     sync.Mutex
	cond   sync.Cond
	msgs   [][]byte
	bytes  int   // in msgs
	owed   int   // taken, and not returned as credit yet
	closed error // this side has closed: nothing more is to be read
	ended  error // the other side has closed: nothing comes after msgs
}

func newQueue() *queue {
	q := new(queue)
	q.cond.L = &q.mu
	return q
}

// put appends msg. It reports false if its sender had no credit for it.
func (q *queue) put(msg []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.bytes+q.owed+len(msg) > creditBytes {
		return false
	}
	if q.closed == nil && q.ended == nil {
		q.msgs = append(q.msgs, msg)
		q.bytes += len(msg)
		q.cond.Signal()
	}
	return true
}

// take waits for a message. If credit is not 0, it is to be returned.
func (q *queue) take() (msg []byte, credit int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.closed == nil && len(q.msgs) == 0 && q.ended == nil {
		q.cond.Wait()
	}
	switch {
	case q.closed != nil:
		return nil, 0, q.closed
	case len(q.msgs) == 0:
		return nil, 0, q.ended
	}
	msg, q.msgs[0] = q.msgs[0], nil
	q.msgs = q.msgs[1:]
	q.bytes -= len(msg)
	q.owed += len(msg)
	if q.owed >= returnBytes {
		credit, q.owed = q.owed, 0
	}
	return msg, credit, nil
}

// end lets take return err when the messages have been taken.
func (q *queue) end(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended == nil {
		q.ended = err
	}
	q.cond.Broadcast()
}

// close lets take return err at once.
func (q *queue) close(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed == nil {
		q.closed = err
	}
	q.msgs, q.bytes = nil, 0
	q.cond.Broadcast()
}

// isClosed returns the error that close set.
func (q *queue) isClosed() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}
