package membership

import (
	"sync"

	"go.uber.org/zap"
)

const (
	maxQueues = 64 // addresses with a worker
	maxQueued = 16 // messages waiting for one worker
)

// An outbox sends messages that block, each address by a worker of its own which
// lives while it has something to send. What does not fit is dropped.
type outbox struct {
	send func(addr string, b []byte) error
	log  *zap.Logger
	wg   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	queues map[string][][]byte // an address is here while it has a worker
}

func (o *outbox) put(addr string, b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	q, busy := o.queues[addr]
	if o.closed || len(q) >= maxQueued || !busy && len(o.queues) >= maxQueues {
		o.log.Debug("gossip: message dropped", zap.String("to", addr), zap.Int("bytes", len(b)))
		return
	}
	o.queues[addr] = append(q, b)
	if !busy {
		o.wg.Go(func() { o.drain(addr) })
	}
}

func (o *outbox) drain(addr string) {
	for b := o.take(addr); b != nil; b = o.take(addr) {
		if err := o.send(addr, b); err != nil {
			o.log.Debug("gossip: message not sent", zap.String("to", addr), zap.Error(err))
		}
	}
}

// take returns the next message, or nil when the worker is to end.
func (o *outbox) take(addr string) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	q := o.queues[addr]
	if o.closed || len(q) == 0 {
		delete(o.queues, addr)
		return nil
	}
	o.queues[addr] = q[1:]
	return q[0]
}

// close waits for the workers; what they have not sent is lost.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.wg.Wait()
}
