package rtc

import "sync"

// maxEarly bounds the offers kept for an Accept that is still to come.
const maxEarly = 4 * maxLanes

// mailbox hands messages to the Dial or Accept that they are for, and keeps
// offers that come before their Accept.
type mailbox struct {
	mu       sync.Mutex
	newest   uint64                   // epoch that this peer has reached
	early    map[edge]message         // offers that nobody accepts yet
	waiting  map[edge]chan message    // Accepts; capacity 1, the newest offer
	sessions map[session]chan message // attempts that are under way; capacity 2: answer, end
}

// session names one attempt to open one link.
type session struct {
	edge
	id string
}

func newMailbox() *mailbox {
	return &mailbox{
		early:    make(map[edge]message),
		waiting:  make(map[edge]chan message),
		sessions: make(map[session]chan message),
	}
}

// reach tells that this peer works at epoch now, and returns the offers of
// older epochs, which nobody will accept.
func (b *mailbox) reach(epoch uint64) (old []message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.newest = max(b.newest, epoch)
	for e, m := range b.early {
		if e.Epoch < b.newest && e.Epoch != epoch {
			delete(b.early, e)
			old = append(old, m)
		}
	}
	return old
}

// accept returns a channel that always holds the newest offer for e, or nil if
// somebody accepts e already.
func (b *mailbox) accept(e edge) <-chan message {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting[e] != nil {
		return nil
	}
	offers := make(chan message, 1)
	if m, ok := b.early[e]; ok {
		delete(b.early, e)
		offers <- m
	}
	b.waiting[e] = offers
	return offers
}

// putBack returns an offer taken from accept's channel, unless a newer one is
// there now.
func (b *mailbox) putBack(m message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.waiting[m.edge] <- m:
	default:
	}
}

// unaccept ends accept. An offer that was not taken waits for the next Accept.
func (b *mailbox) unaccept(e edge) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case m := <-b.waiting[e]:
		b.early[e] = m
	default:
	}
	delete(b.waiting, e)
}

// open returns a channel for what the other side says in session s.
func (b *mailbox) open(s session) <-chan message {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := make(chan message, 2)
	b.sessions[s] = c
	return c
}

func (b *mailbox) shut(s session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.sessions, s)
}

// put delivers m. If nobody wants it and its sender should know, put returns why.
func (b *mailbox) put(m message) (refusal string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.Kind == kindOffer {
		return b.putOffer(m)
	}
	if c := b.sessions[session{m.edge, m.Session}]; c != nil {
		select {
		case c <- m:
		default: // an honest peer says no more than fits
		}
		return ""
	}
	if m.Kind == kindAnswer {
		return "nobody dials in this session any more"
	}
	if b.early[m.edge].Session == m.Session {
		delete(b.early, m.edge)
	}
	return ""
}

func (b *mailbox) putOffer(m message) (refusal string) {
	if b.sessions[session{m.edge, m.Session}] != nil {
		return "" // the offer that is being answered, once more
	}
	if c := b.waiting[m.edge]; c != nil {
		select {
		case <-c: // an older offer
		default:
		}
		c <- m
		return ""
	}
	if m.Epoch < b.newest {
		return "epoch is over here"
	}
	if _, known := b.early[m.edge]; !known && len(b.early) >= maxEarly {
		return "too many offers are waiting here"
	}
	b.early[m.edge] = m
	return ""
}
