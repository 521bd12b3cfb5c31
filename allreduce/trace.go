package allreduce

import "time"

// A Trace hears of the collectives of a Comm, but not of those of its groups, nor
// of messages. Its functions are called from several goroutines, and may be called
// while the Comm holds its lock: they must not wait, and must not call the Comm.
type Trace struct {
	// Begins is called when a collective has its number. Done is called if it
	// returns a tag other than 0, with that tag.
	Begins func(kind string) (tag uint64)
	// Done is called when the collective has ended, well or not. Called for many
	// of them it need not be in order.
	Done func(tag uint64, e Event)
}

// An Event is a collective that has ended.
type Event struct {
	Seq          uint32 // alike on all peers
	Kind         string // such as "all-reduce"
	Bytes        int    // of this peer's vector
	Algorithm    Algorithm
	Began, Ended time.Time
	Err          error
}

// Heard returns what the peers to which this one has links have told of themselves
// last; see ring.Pulse.
func (c *Comm) Heard() map[string]uint64 { return c.ring.Heard() }

// watched is what a Work that is traced remembers.
type watched struct {
	tag   uint64
	began time.Time
}

// kindOfWork names the kind of a work.
func (w *Work) kindOfWork() string {
	switch w.kind {
	case allReduce:
		return "all-reduce"
	case reduceScatter:
		return "reduce-scatter"
	case reduceTo:
		return "reduce"
	}
	return w.kind.String()
}

// traceBegin tells the Trace of a work that has its number.
func (c *Comm) traceBegin(w *Work) {
	w.watched = watched{}
	if c.trace == nil {
		return
	}
	if tag := c.trace.Begins(w.kindOfWork()); tag != 0 {
		w.watched = watched{tag, time.Now()}
	}
}

// traceEnd tells it that the work has ended.
func (c *Comm) traceEnd(w *Work, ended time.Time, err error) {
	if w.watched.tag == 0 {
		return
	}
	tag, algorithm := w.watched.tag, w.algorithm
	w.watched.tag = 0
	if c.board.takes(w) {
		algorithm = Shared
	}
	c.trace.Done(tag, Event{
		Seq: w.seq, Kind: w.kindOfWork(), Bytes: w.bytes, Algorithm: algorithm,
		Began: w.watched.began, Ended: ended, Err: err,
	})
}
