package allreduce

import (
	"sync/atomic"

	"github.com/ringrun/ringrun/ring"
)

// Stats counts what went over the wire.
type Stats struct {
	Sent, Received             uint64 // bytes, headers included
	SentBodies, ReceivedBodies uint64 // bytes without headers
	Frames                     uint64 // sent
}

type counters struct {
	sent, received             atomic.Uint64 // bytes of bodies
	sentFrames, receivedFrames atomic.Uint64
	shared                     atomic.Uint64 // bytes in memory that others share, both ways
}

// count counts what others have read from this peer, and this peer from them,
// of memory that they share.
func (s *counters) count(bytes int) {
	s.shared.Add(uint64(bytes))
}

// Stats returns the counts since New. Heartbeats are not in them.
func (c *Comm) Stats() Stats {
	shared := c.stats.shared.Load()
	sent, received := c.stats.sent.Load()+shared, c.stats.received.Load()+shared
	frames := c.stats.sentFrames.Load()
	return Stats{
		Sent:           sent + frames*ring.HeaderBytes,
		Received:       received + c.stats.receivedFrames.Load()*ring.HeaderBytes,
		SentBodies:     sent,
		ReceivedBodies: received,
		Frames:         frames,
	}
}
