package allreduce

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/ringrun/ringrun/ring"
)

var (
	// ErrGroup reports that peers disagree about who is in a group. All peers
	// get it alike, and the Comm works on.
	ErrGroup = errors.New("allreduce: peers disagree about a group")
	// ErrNotMember reports that this peer is in none of the groups that were made.
	ErrNotMember = errors.New("allreduce: not in the group")
)

// Group returns a Comm for some of the peers, given by their ranks here, in the
// order of their ranks there. Every peer of c must call it at the same place among
// the collectives, whether it will be in a group or not: those who are give the
// same ranks, so that several groups can be made at once, with no peer in two; those
// who are not give what they like and get ErrNotMember.
//
// The group has links and numbers of its own, so its collectives do not mix with
// those of c, and may run at the same time. It dies with c, and c with it: whatever
// breaks one breaks the other, on all peers. Closing c closes it; closing the group
// leaves c as it is. A peer that makes groups of several Comms must make them one
// after the other, in the same order as all who share both.
//
// It takes a Gather and the time to open links. When ctx ends early the ring is
// broken.
func (c *Comm) Group(ctx context.Context, ranks []int) (*Comm, error) {
	for i, rank := range ranks {
		if err := c.checkRank("group with", rank); err != nil {
			return nil, err
		}
		if slices.Contains(ranks[:i], rank) {
			return nil, fmt.Errorf("%w: rank %d is twice in the group %v", ErrRank, rank, ranks)
		}
	}
	return c.grouped(ctx, ranks, func(all [][]int) ([]int, error) {
		return ranks, c.checkGroups(all)
	})
}

// Split is Group for those who know only a colour for themselves: peers of the
// same colour are a group, in the order of their keys, and of their ranks where
// keys are equal. Who gives a negative colour gets ErrNotMember.
func (c *Comm) Split(ctx context.Context, color, key int) (*Comm, error) {
	return c.grouped(ctx, []int{color, key}, func(all [][]int) ([]int, error) {
		var ranks []int
		for rank, of := range all {
			if len(of) != 2 {
				return nil, fmt.Errorf("%w: %s gives ranks, %s a colour", ErrGroup, c.peers[rank], c.peers[c.rank])
			}
			if of[0] == color && color >= 0 {
				ranks = append(ranks, rank)
			}
		}
		slices.SortStableFunc(ranks, func(a, b int) int { return cmp.Compare(all[a][1], all[b][1]) })
		return ranks, nil
	})
}

// grouped tells all peers what this one wants, lets members find the ranks of its
// group in what all want, and opens that.
func (c *Comm) grouped(ctx context.Context, mine []int, members func(all [][]int) ([]int, error)) (*Comm, error) {
	select {
	case c.root.grouping <- struct{}{}:
		defer func() { <-c.root.grouping }()
	case <-ctx.Done():
		c.fail(codeCanceled, fmt.Errorf("a group given up: %w", context.Cause(ctx))) // others wait for what we want
		return nil, c.Err()
	}
	c.makes(1)
	defer c.makes(-1)
	number, all, err := c.agreeGroup(ctx, mine)
	if err != nil {
		return nil, err
	}
	ranks, err := members(all)
	switch {
	case err != nil:
		return nil, err
	case !slices.Contains(ranks, c.rank):
		return nil, fmt.Errorf("%w: %v, this is rank %d", ErrNotMember, ranks, c.rank)
	case number > ring.MaxGroup:
		return nil, fmt.Errorf("%w: more than %d groups in epoch %d", ErrGroup, ring.MaxGroup, c.Epoch())
	}
	r, err := c.ring.Group(ctx, ranks, number)
	if err != nil {
		return nil, explain(err)
	}
	return c.adopt(r), nil
}

// makes notes in all that would end with this Comm that a group is made of it.
func (c *Comm) makes(n int32) {
	for ; c != nil; c = c.parent {
		c.making.Add(n)
	}
}

// agreeGroup gathers what all want, and a number that none of them has used for
// a group: groups of the same peers must differ in it, whichever Comm they are
// made of.
func (c *Comm) agreeGroup(ctx context.Context, mine []int) (number int, all [][]int, err error) {
	blob := binary.LittleEndian.AppendUint64(nil, uint64(c.root.groups+1))
	for _, x := range mine {
		blob = binary.LittleEndian.AppendUint64(blob, uint64(x))
	}
	blobs, err := c.Gather(ctx, blob)
	if err != nil {
		return 0, nil, err
	}
	for rank, b := range blobs {
		var words []int
		for ; len(b) >= 8; b = b[8:] {
			words = append(words, int(binary.LittleEndian.Uint64(b)))
		}
		if len(words) == 0 || len(b) > 0 {
			return 0, nil, fmt.Errorf("%w: what %s wants ends with %d bytes", ErrGroup, c.peers[rank], len(b))
		}
		number = max(number, words[0])
		all = append(all, words[1:])
	}
	c.root.groups = min(number, ring.MaxGroup)
	return number, all, nil
}

// checkGroups finds members of a group that want another one.
func (c *Comm) checkGroups(all [][]int) error {
	for rank, ranks := range all {
		if !slices.Contains(ranks, rank) {
			continue
		}
		for _, other := range ranks {
			if other < 0 || other >= c.size || !slices.Equal(all[other], ranks) {
				return fmt.Errorf("%w: %s wants ranks %v, rank %d does not", ErrGroup, c.peers[rank], ranks, other)
			}
		}
	}
	return nil
}

// adopt returns the Comm over the ring of a group.
func (c *Comm) adopt(r *ring.Ring) *Comm {
	cfg := c.config
	cfg.Trace = nil
	g := New(r, cfg)
	g.parent, g.root = c, c.root
	c.mu.Lock()
	defer c.mu.Unlock()
	g.costs = c.costs
	if c.members == nil {
		c.members = make(map[*Comm]bool)
	}
	c.members[g] = true
	return g
}

// closeGroups waits for the Comms of groups, whose rings are closed.
func (c *Comm) closeGroups() {
	c.mu.Lock()
	var all []*Comm
	for g := range c.members {
		all = append(all, g)
	}
	c.mu.Unlock()
	for _, g := range all {
		g.Close()
	}
	if p := c.parent; p != nil {
		p.mu.Lock()
		delete(p.members, c)
		p.mu.Unlock()
	}
}
