package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/ringrun/ringrun/cmd/ringrun/paths"
	"golang.org/x/sync/errgroup"
)

const (
	pathWait = 8 * time.Second // for one answer of an agent about networks
	maxTold  = 6               // hosts whose address is told
)

// network answers what the launcher asks about addresses. Nothing else is asked
// of an agent meanwhile.
func (a *agent) network(r paths.Request) {
	if r.Close {
		a.paths.Close()
		return
	}
	reply := a.paths.Serve(context.Background(), r) // which has deadlines
	a.send(event{Kind: evPaths, Paths: &reply})
}

// findPaths chooses for each host the address by which the others reach it. Hosts
// that have nobody to be reached by need none, unless the user chose a network.
func (j *job) findPaths(ctx context.Context) error {
	if len(j.conns) < 2 && j.opts.network.Empty() {
		return nil
	}
	var token paths.Token
	rand.Read(token[:]) // never fails: see its documentation
	hosts, targets, err := j.openDoors(ctx, token)
	if err == nil && len(hosts) > 1 {
		err = j.tryDoors(ctx, token, hosts, targets)
	}
	for _, c := range j.conns {
		c.send(request{Paths: &paths.Request{Close: true}})
	}
	if err != nil {
		return err
	}
	for i, at := range paths.Choose(hosts) {
		if at < 0 {
			return fmt.Errorf("no other host reaches host %s: %s; does a firewall let TCP through between the hosts?", j.conns[i].host.name, outcome(hosts[i]))
		}
		j.conns[i].at = hosts[i].Addresses[at]
		j.conns[i].own = ownIP(hosts[i].Addresses)
		if missing := j.unreached(i, at, hosts[i]); missing != "" {
			j.out.note("host %s is not reached by %s; ringrun doctor tells more", j.conns[i].host.name, missing)
		}
	}
	j.tellPaths()
	return nil
}

// settle chooses an address for a host that comes later: in the network that the
// user wants; without such a wish it is the one that routes to the others.
func (j *job) settle(ctx context.Context, c *conn) error {
	if j.opts.network.Empty() {
		return nil
	}
	var token paths.Token // which nobody gets
	rand.Read(token[:])
	reply, err := c.ask(ctx, paths.Request{Listen: &paths.Listen{Token: token}})
	c.send(request{Paths: &paths.Request{Close: true}})
	if err != nil {
		return err
	}
	good, err := j.usable(c, nil, reply.Addresses)
	if err != nil {
		return err
	}
	c.at, c.own = good[0], ownIP(good)
	return nil
}

// openDoors lets each host listen, and asks for its addresses.
func (j *job) openDoors(ctx context.Context, token paths.Token) ([]paths.Host, []paths.Target, error) {
	hosts, targets := make([]paths.Host, len(j.conns)), make([]paths.Target, len(j.conns))
	asking, actx := errgroup.WithContext(ctx)
	for i, c := range j.conns {
		asking.Go(func() error {
			t := &targets[i]
			rand.Read(t.Name[:])
			reply, err := c.ask(actx, paths.Request{Listen: &paths.Listen{Token: token, Name: t.Name}})
			if err != nil {
				return err
			}
			t.Port = reply.Port
			hosts[i].Addresses, err = j.usable(c, j.conns, reply.Addresses)
			for _, a := range hosts[i].Addresses {
				t.Addresses = append(t.Addresses, a.IP)
			}
			return err
		})
	}
	return hosts, targets, asking.Wait()
}

// usable are the addresses of a host that the user lets us use; among them those
// that only a router in front of it has.
func (j *job) usable(c *conn, all []*conn, own []paths.Address) ([]paths.Address, error) {
	known := slices.Clone(own)
	for _, s := range c.reached(all) {
		ip, err := netip.ParseAddr(s)
		if err != nil || !ip.IsGlobalUnicast() {
			continue
		}
		ip = ip.Unmap()
		if i := slices.IndexFunc(known, func(a paths.Address) bool { return a.IP == ip }); i >= 0 {
			known[i].SSH = true
		} else if !c.host.local {
			known = append(known, paths.Address{IP: ip, SSH: true})
		}
	}
	if h, err := netip.ParseAddr(c.host.address()); err == nil && h.IsGlobalUnicast() &&
		!slices.ContainsFunc(known, func(a paths.Address) bool { return a.IP == h }) {
		known = append(known, paths.Address{IP: h, SSH: true})
	}
	var good []paths.Address
	for _, a := range known {
		if j.opts.network.Lets(a) {
			good = append(good, a)
		}
	}
	if len(good) == 0 {
		return nil, fmt.Errorf("host %s has no address in the -network wanted; it has %s", c.host.name, list(known))
	}
	return good, nil
}

// tryDoors lets each host try the doors of all others.
func (j *job) tryDoors(ctx context.Context, token paths.Token, hosts []paths.Host, targets []paths.Target) error {
	trying, tctx := errgroup.WithContext(ctx)
	results := make([][][]paths.Result, len(hosts))
	for i, c := range j.conns {
		trying.Go(func() error {
			others := slices.Delete(slices.Clone(targets), i, i+1)
			reply, err := c.ask(tctx, paths.Request{Try: &paths.Tries{Token: token, Targets: others}})
			if err == nil && len(reply.Results) != len(others) {
				err = fmt.Errorf("host %s: its agent has tried %d of %d hosts", c.host.name, len(reply.Results), len(others))
			}
			results[i] = reply.Results
			return err
		})
	}
	if err := trying.Wait(); err != nil {
		return err
	}
	for i := range hosts {
		hosts[i].Tries = make([][]paths.Result, len(hosts))
		for who := range hosts {
			switch { // its own door it has not tried
			case who < i:
				hosts[i].Tries[who] = results[who][i-1]
			case who > i:
				hosts[i].Tries[who] = results[who][i]
			}
		}
	}
	return nil
}

// ask waits for the answer. It is for agents that have not started a worker yet.
func (c *conn) ask(ctx context.Context, r paths.Request) (paths.Reply, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, pathWait, fmt.Errorf("host %s: its agent does not answer within %v", c.host.name, pathWait))
	defer cancel()
	stop := context.AfterFunc(ctx, c.kill)
	defer stop()
	c.send(request{Paths: &r})
	for {
		line, err := c.lines.ReadBytes('\n')
		if ctx.Err() != nil {
			return paths.Reply{}, context.Cause(ctx)
		}
		if err != nil {
			return paths.Reply{}, fmt.Errorf("host %s: its agent has ended: %s", c.host.name, c.lastWords(err))
		}
		var e event
		if json.Unmarshal(line, &e) != nil || e.Paths == nil {
			continue
		}
		if e.Paths.Error != "" {
			return *e.Paths, fmt.Errorf("host %s: %s", c.host.name, e.Paths.Error)
		}
		return *e.Paths, nil
	}
}

// unreached names those who do not reach the address of a host.
func (j *job) unreached(host, at int, h paths.Host) string {
	var names []string
	for who, results := range h.Tries {
		if who != host && (at >= len(results) || !results[at].Reached) {
			names = append(names, j.conns[who].host.name)
		}
	}
	return strings.Join(names, ", ")
}

// outcome tells what became of the tries to reach a host.
func outcome(h paths.Host) string {
	var parts []string
	for i, a := range h.Addresses {
		why := map[string]bool{}
		for _, results := range h.Tries {
			if i < len(results) && results[i].Why != "" && !why[results[i].Why] {
				why[results[i].Why] = true
				parts = append(parts, fmt.Sprintf("%s: %s", a, results[i].Why))
			}
		}
	}
	return strings.Join(parts, ", ")
}

// tellPaths says which addresses are used, by the first worker of each host.
func (j *job) tellPaths() {
	first := map[*conn]int{}
	for w := len(j.opts.place) - 1; w >= 0; w-- {
		first[j.conns[j.opts.place[w]]] = w
	}
	var parts []string
	for i, c := range j.conns {
		switch who := first[j.conns[(i+1)%len(j.conns)]]; {
		case len(j.conns) == 1:
			parts = append(parts, fmt.Sprintf("the workers are reached by %s", c.at))
		case len(j.conns) == 2:
			parts = append(parts, fmt.Sprintf("p%d reaches p%d by %s", who, first[c], c.at))
		case i == 0:
			parts = append(parts, fmt.Sprintf("p%d is reached by %s", first[c], c.at))
		case i < maxTold:
			parts = append(parts, fmt.Sprintf("p%d by %s", first[c], c.at))
		case i == maxTold:
			parts = append(parts, fmt.Sprintf("and so on for %d more hosts", len(j.conns)-i))
		}
	}
	j.out.note("%s", strings.Join(parts, ", "))
}

// bind is where workers on the host of c listen, and advertise what they tell
// others if that is another address. Both are empty if nothing is known.
func (c *conn) bind() (bind, advertise string) {
	switch {
	case !c.at.IP.IsValid():
		return "", ""
	case c.at.Iface == "": // a router's
		return c.own, c.at.IP.String()
	}
	return c.at.IP.String(), ""
}

// ownIP is an address that the host has itself.
func ownIP(all []paths.Address) string {
	for _, a := range all {
		if a.Iface != "" {
			return a.IP.String()
		}
	}
	return "0.0.0.0"
}

func list(all []paths.Address) string {
	var parts []string
	for _, a := range all {
		parts = append(parts, a.String())
	}
	return strings.Join(parts, ", ")
}
