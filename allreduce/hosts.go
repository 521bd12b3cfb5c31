package allreduce

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// ByHosts tells the Comm on which host each peer is, by rank, so that all-reduces
// of large vectors can be done on two levels: first among the peers of a host,
// then between hosts. It is alike on all peers, which call it at the same place among
// the collectives, at most once. Where there is one host, or each peer has its own, nothing
// changes. It takes as long as it takes to make three groups.
func (c *Comm) ByHosts(ctx context.Context, hosts []string) error {
	if len(hosts) != c.size {
		return fmt.Errorf("%w: %d hosts of %d peers", ErrGroup, len(hosts), c.size)
	}
	locals := byHost(hosts)
	if len(locals) < 2 || len(locals) == c.size {
		return nil
	}
	l := &levels{c: c, filled: sync.NewCond(&c.mu)}
	mine := slices.IndexFunc(locals, func(ranks []int) bool { return slices.Contains(ranks, c.rank) })
	var err error
	for _, g := range []**Comm{&l.down, &l.up} {
		if *g, err = c.Group(ctx, locals[mine]); err != nil {
			return err
		}
		(*g).codec = Raw
	}
	var ranks []int
	ranks, l.led = acrossOf(locals, slices.Index(locals[mine], c.rank))
	if l.across, err = c.Group(ctx, ranks); err != nil && !errors.Is(err, ErrNotMember) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return c.err
	}
	c.levels = l
	l.start()
	return nil
}

// byHost returns the ranks of each host, in the order of the first of each.
func byHost(hosts []string) (locals [][]int) {
	at := map[string]int{}
	for rank, host := range hosts {
		i, ok := at[host]
		if !ok {
			i = len(locals)
			at[host] = i
			locals = append(locals, nil)
		}
		locals[i] = append(locals[i], rank)
	}
	return locals
}

// acrossOf returns the ranks with which the k-th peer of a host works across, and
// whether that is for the first ones only.
func acrossOf(locals [][]int, k int) (ranks []int, led bool) {
	for _, ranks := range locals {
		led = led || len(ranks) != len(locals[0])
	}
	if led {
		k = 0
	}
	for _, of := range locals {
		ranks = append(ranks, of[k])
	}
	return ranks, led
}
