package ring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A lane is named on the wire by its number among all between two peers in one
// epoch. The lanes of a ring of all peers take the numbers below seatsPerRing,
// those of its group number g the same ones, g·seatsPerRing further on.
const (
	shortSeat    = firstChord + 15 // a ring of 2^16 has 15 chords
	boardSeat    = shortSeat + 1
	seatsPerRing = boardSeat + 1
	maxSeats     = 1 << 16
)

// MaxGroup is the largest number that a group may have.
const MaxGroup = maxSeats/seatsPerRing - 1

// Group opens a ring of some of the peers of r, given by their ranks, in the
// order in which they are to stand in it. All of them must call it, with the same
// ranks and the same number; no other ring that two of them share, in this
// epoch, may have or have had that number, which is from 1 to MaxGroup.
//
// A ring and the rings of its groups die together: what breaks one breaks the
// others, and closing a ring closes those of its groups. Closing the ring of a
// group closes only that.
func (r *Ring) Group(ctx context.Context, ranks []int, number int) (*Ring, error) {
	peers, err := r.members(ranks)
	if err != nil {
		return nil, err
	}
	if number < 1 || number > MaxGroup {
		return nil, fmt.Errorf("ring: group number %d, want 1 to %d", number, MaxGroup)
	}
	g := newRing(Config{
		Self: r.peers[r.rank], Peers: peers, Epoch: r.epoch, Transport: r.transport,
		Lanes: len(r.lanes), Chords: len(r.chords) > 0, Silence: r.silence, Pulse: r.pulse,
	})
	g.seats, g.parent = number*seatsPerRing, r
	for _, l := range slices.Concat(g.lanes, g.chords) { // r's neighbours watch each other
		l.next.rarely, l.prev.rarely = true, true
	}
	if err := r.adopt(g); err != nil {
		return nil, err
	}
	if err := g.open(ctx); err != nil {
		return nil, err
	}
	return g, nil
}

// members returns the peers of these ranks.
func (r *Ring) members(ranks []int) ([]string, error) {
	var peers []string
	for i, rank := range ranks {
		if rank < 0 || rank >= len(r.peers) {
			return nil, fmt.Errorf("ring: group of rank %d of %d", rank, len(r.peers))
		}
		if slices.Contains(ranks[:i], rank) {
			return nil, fmt.Errorf("ring: rank %d is twice in the group %v", rank, ranks)
		}
		peers = append(peers, r.peers[rank])
	}
	if !slices.Contains(ranks, r.rank) {
		return nil, fmt.Errorf("ring: rank %d is not in the group %v", r.rank, ranks)
	}
	return peers, nil
}

// adopt makes g end with r.
func (r *Ring) adopt(g *Ring) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	if r.groups == nil {
		r.groups = make(map[*Ring]bool)
	}
	r.groups[g] = true
	return nil
}

// forget waits for the rings of all groups, and lets the parent forget this one.
func (r *Ring) forget() {
	r.mu.Lock()
	var all []*Ring
	for g := range r.groups {
		all = append(all, g)
	}
	r.mu.Unlock()
	for _, g := range all {
		g.Close()
	}
	if p := r.parent; p != nil {
		p.mu.Lock()
		delete(p.groups, r)
		p.mu.Unlock()
	}
}

// shutOthers ends the rings that cannot live without this one. The others learn
// the reason as this ring's peers do.
func (r *Ring) shutOthers(why error, last Header) {
	r.mu.Lock()
	var all []*Ring
	for g := range r.groups {
		all = append(all, g)
	}
	r.mu.Unlock()
	if r.parent != nil && last.Kind != Bye {
		all = append(all, r.parent)
	}
	for _, g := range all {
		if last.Kind == Bye {
			g.shut(why, Header{Kind: Bye}, nil)
			continue
		}
		h, text := g.lastWords(why)
		g.shut(why, h, text)
	}
}

// lastWords makes an Abort frame of why another ring broke.
func (r *Ring) lastWords(why error) (Header, []byte) {
	self := r.peers[r.rank]
	abort, ok := errors.AsType[*AbortError](why)
	if !ok {
		abort = &AbortError{Peer: self, Text: strings.TrimPrefix(why.Error(), fmt.Sprintf("%v: epoch %d: ", ErrBroken, r.epoch))}
	}
	if !slices.Contains(r.peers, abort.Peer) {
		abort = &AbortError{Peer: self, Code: abort.Code, Text: abort.Error(), About: abort.About}
	}
	return abortFrame(r.rankOf(abort.Peer), slices.Index(r.peers, abort.About), abort)
}
