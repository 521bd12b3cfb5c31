package ring

import "fmt"

// A Pulse is what heartbeats tell: a word about what a peer does, that its
// neighbours remember. When it falls silent, its last word is in the error.
// Words grow: of those that came over several links the largest is the newest.
type Pulse struct {
	Say  func() uint64       // the word of this peer; 0: nothing. It must not wait.
	Read func(uint64) string // how the word of another reads: "computing, step 17"
}

func (p Pulse) say() uint64 {
	if p.Say == nil {
		return 0
	}
	return p.Say()
}

// hear notes the word of a heartbeat.
func (e *end) hear(word uint64) {
	if word > e.heard.Load() {
		e.heard.Store(word)
	}
}

// silent says that the peer has not been heard for Silence.
func (e *end) silent() *AbortError {
	r := e.ring
	text := fmt.Sprintf("lane %d: %s has been silent for %v", e.lane, e.peer, r.silence)
	if word := r.Heard()[e.peer]; word != 0 && r.pulse.Read != nil {
		text += "; last heard " + r.pulse.Read(word)
	}
	return &AbortError{Peer: r.peers[r.rank], About: e.peer, Text: text}
}

// Heard returns the last word of every peer to which this one has a link, if it
// has said one; see Pulse.
func (r *Ring) Heard() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[string]uint64)
	for _, e := range r.ends {
		if word := e.heard.Load(); word > all[e.peer] {
			all[e.peer] = word
		}
	}
	return all
}
