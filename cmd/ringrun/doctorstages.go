package main

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/ringrun/ringrun/cmd/ringrun/doctor"
	"github.com/ringrun/ringrun/cmd/ringrun/paths"
)

const (
	factsWait = 15 * time.Second // for all that a host knows of itself
	probeWait = 8 * time.Second  // for all ways from one host to another
	clockAsks = 9
)

var errSlowAgent = errors.New("the agent there does not answer in time")

// interview asks each host for the time, and for what it knows of itself, and lets
// it answer the probes of the others.
func (x *exam) interview(ctx context.Context) {
	var conns []*conn
	for _, p := range x.patients {
		if p.ward != nil {
			conns = append(conns, p.ward.conn)
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, factsWait, errSlowAgent)
	defer cancel()
	x.each(func(p *patient) error {
		if err := p.readClock(ctx); err != nil {
			return err
		}
		if err := x.open(ctx, p, conns); err != nil {
			return err
		}
		q := doctor.Query{Dirs: x.dirs}
		if !p.local {
			q.Cache = x.cache
		}
		for _, other := range x.patients {
			if other != p && !other.local {
				q.Names = append(q.Names, other.address())
			}
		}
		reply, err := p.ward.ask(ctx, doctor.Request{Query: &q})
		if err == nil {
			busy := p.facts.PortBusy
			p.facts = *reply.Facts
			p.facts.PortBusy = busy
			p.limit(x.network)
		}
		return err
	})
}

// limit leaves only the addresses that the user wants a run to use.
func (p *patient) limit(network paths.Filter) {
	if network.Empty() {
		return
	}
	lets := func(addr string) bool {
		ip, err := netip.ParseAddr(addr)
		return err == nil && network.Lets(paths.Address{IP: ip.Unmap(), Iface: p.facts.Ifaces[addr]})
	}
	p.wanted = lets
	var good []string
	for _, a := range append([]string{p.use, p.ward.conn.server}, p.facts.Addrs...) {
		if lets(a) {
			good = append(good, a)
		}
	}
	if len(good) > 0 {
		p.use = good[0]
		return
	}
	p.port = 0 // nobody need try
	p.findings = append(p.findings, doctor.Finding{Status: doctor.Fail, Host: p.name, Check: "network",
		Found: "it has " + strings.Join(p.facts.Addrs, ", "), Cause: "none of its addresses is in the -network wanted",
		Remedy: "another -network, or an address of that network for the host"})
}

// readClock takes the answer that came fastest: its uncertainty is half of the
// time it took.
func (p *patient) readClock(ctx context.Context) error {
	for range clockAsks {
		sent := time.Now()
		reply, err := p.ward.ask(ctx, doctor.Request{})
		if err != nil {
			return err
		}
		half := time.Since(sent) / 2
		if p.unsure == 0 || half < p.unsure {
			p.unsure, p.ahead = half, reply.Now.Sub(sent.Round(0).Add(half)) // Round: by the clock on the wall
		}
	}
	return nil
}

// open lets a host answer probes: the first at the port that the founder is to
// have, or at any if that one is taken.
func (x *exam) open(ctx context.Context, p *patient, conns []*conn) error {
	o := doctor.Open{Name: p.name, Token: x.token, Reached: p.ward.conn.reached(conns), Toward: p.ward.conn.toward(conns)}
	if p == x.patients[0] {
		o.Port = x.port
	}
	reply, err := p.ward.ask(ctx, doctor.Request{Open: &o})
	if err == nil && reply.Error != "" && o.Port != 0 {
		p.facts.PortBusy = reply.Error
		o.Port = 0
		reply, err = p.ward.ask(ctx, doctor.Request{Open: &o})
	}
	if err == nil && reply.Error != "" {
		err = errors.New(reply.Error)
	}
	p.port, p.use = reply.Port, reply.Use
	return err
}

// compare probes the ways between all pairs of hosts, in rounds in which no host
// has more than one other to do with.
func (x *exam) compare(ctx context.Context) {
	for _, round := range doctor.Rounds(len(x.patients)) {
		var pairs sync.WaitGroup
		for _, pair := range round {
			pairs.Go(func() {
				x.probe(ctx, pair[0], pair[1])
				x.probe(ctx, pair[1], pair[0])
			})
		}
		pairs.Wait()
	}
}

func (x *exam) probe(ctx context.Context, from, to int) {
	p, q := x.patients[from], x.patients[to]
	if p.ward == nil || q.ward == nil || q.port == 0 {
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, probeWait, errSlowAgent)
	defer cancel()
	reply, err := p.ward.ask(ctx, doctor.Request{Target: &doctor.Target{Host: q.name, Addrs: q.addrs(), Port: q.port, Token: x.token}})
	if err != nil {
		p.fail("agent", err)
		return
	}
	p.ways[to] = reply.Ways
}

// maxWays is how many addresses of a host are tried.
const maxWays = 8

// addrs are all that the host has; the first is the one that peers would use.
func (p *patient) addrs() []string {
	addrs := []string{p.use}
	seen := map[string]bool{p.use: true}
	for _, a := range append([]string{p.ward.conn.server}, p.facts.Addrs...) {
		if a != "" && !seen[a] && len(addrs) < maxWays && (p.wanted == nil || p.wanted(a)) {
			addrs, seen[a] = append(addrs, a), true
		}
	}
	return addrs
}

// diagnose says what all of that means, host by host and then pair by pair.
func (x *exam) diagnose() []doctor.Finding {
	peers := 0
	for _, p := range x.patients {
		peers += p.slots
	}
	var all []doctor.Finding
	for _, p := range x.patients {
		if all = append(all, p.findings...); p.facts.Platform == "" {
			continue
		}
		all = append(all, doctor.JudgeHost(p.name, p.facts, doctor.Plan{Slots: p.slots, Peers: peers, Hosts: len(x.patients)})...)
		if !p.local {
			all = append(all, doctor.JudgeClock(p.name, p.ahead, p.unsure))
		}
	}
	for i, p := range x.patients {
		for j, q := range x.patients {
			ways, tried := p.ways[j]
			if !tried {
				continue
			}
			if !q.local {
				all = append(all, doctor.JudgeName(p.name, q.address(), p.facts, q.facts)...)
			}
			pair := doctor.Pair{From: p.name, To: q.name, FromFacts: p.facts, ToFacts: q.facts, Ways: ways}
			if back := q.ways[i]; len(back) > 0 {
				pair.Back = back[0].Bandwidth
			}
			all = append(all, doctor.JudgePair(pair)...)
		}
	}
	return all
}

func compareStrings(a1, a2, b1, b2 string) int {
	return cmp.Or(cmp.Compare(a1, b1), cmp.Compare(a2, b2))
}
