package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ringrun/ringrun/elastic"
	"github.com/ringrun/ringrun/membership"
	"github.com/urfave/cli/v3"
)

const askTimeout = 3 * time.Second // for a peer to answer

// An asker asks the peers of a run; each of them knows all others.
type asker struct {
	cred   credential
	client *http.Client
	addr   string   // of one peer
	others []string // those of the rest, as far as they are known
}

// newAsker finds the run that the command means: the one that has a peer at the
// address given, or the only run of this user on this machine.
func newAsker(c *cli.Command, addr string) (*asker, error) {
	recs := openRecords()
	var addrs []string
	var err error
	if addr == "" {
		addrs, err = recs.only()
	} else {
		addrs, err = parseAddrs(addr)
	}
	if err != nil {
		return nil, err
	}
	cred, err := findCredential(options{secretFile: c.String("secret-file"), join: addrs}, os.Getenv("RINGRUN_SECRET"), recs)
	if err != nil {
		return nil, err
	}
	client, err := membership.ControlClient(cred.secret, cred.run())
	return &asker{cred: cred, client: client, addr: addrs[0], others: addrs[1:]}, err
}

// only returns the addresses of all peers that are recorded if they are of one run.
// Some of them may be gone since a moment ago.
func (r records) only() ([]string, error) {
	runs := map[string][]string{}
	for _, dir := range r.dirs {
		names, _ := filepath.Glob(filepath.Join(dir, "*"+recordSuffix))
		for _, name := range names {
			if rec, ok := readRecord(name); ok {
				runs[string(rec.Secret)] = append(runs[string(rec.Secret)], rec.Addr)
			}
		}
	}
	var first []string
	for _, addrs := range runs {
		slices.Sort(addrs)
		first = append(first, addrs[0])
		if len(runs) == 1 {
			return addrs, nil
		}
	}
	if len(runs) == 0 {
		return nil, usagef("no run of this user goes on here: name the address of one of its peers, as in ringrun status HOST:PORT")
	}
	slices.Sort(first)
	return nil, usagef("there are %d runs, with peers at %s: name one", len(runs), strings.Join(first, ", "))
}

// An answer is what one peer says of itself, or why it says nothing.
type answer struct {
	elastic.Status
	peer elastic.StatusPeer
	err  error
}

// all asks one peer for the others, and then those.
func (a *asker) all(ctx context.Context) ([]answer, error) {
	first, err := a.first(ctx)
	if err != nil {
		return nil, err
	}
	answers := make([]answer, len(first.Peers))
	var asking sync.WaitGroup
	for i, p := range first.Peers {
		asking.Go(func() {
			s, err := a.status(ctx, p.Addr)
			answers[i] = answer{s, p, err}
		})
	}
	asking.Wait()
	a.others = nil
	for _, p := range first.Peers {
		a.others = append(a.others, p.Addr)
	}
	return answers, nil
}

// first asks one peer; when that is gone, whoever else was known.
func (a *asker) first(ctx context.Context) (elastic.Status, error) {
	s, err := a.status(ctx, a.addr)
	for _, addr := range a.others {
		if err == nil {
			return s, nil
		}
		if other, otherErr := a.status(ctx, addr); otherErr == nil {
			s, err, a.addr = other, nil, addr
		}
	}
	return s, err
}

func (a *asker) status(ctx context.Context, addr string) (elastic.Status, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askTimeout, fmt.Errorf("no answer within %v", askTimeout))
	defer cancel()
	s, err := elastic.AskStatus(ctx, a.client, addr)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return s, fmt.Errorf("peer at %s: %w", addr, plain(err))
	}
	return s, nil
}

// find returns the address of a peer that is named by its ID, the beginning of
// it, or its address.
func (a *asker) find(ctx context.Context, name string) (elastic.StatusPeer, error) {
	first, err := a.first(ctx)
	if err != nil {
		return elastic.StatusPeer{}, err
	}
	var found []elastic.StatusPeer
	var ids []string
	for _, p := range first.Peers {
		ids = append(ids, p.ID)
		if p.ID == name || p.Addr == name {
			return p, nil
		}
		if strings.HasPrefix(p.ID, name+"-") {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return elastic.StatusPeer{}, fmt.Errorf("there is no peer %s; there are %s", name, strings.Join(ids, ", "))
	}
	return elastic.StatusPeer{}, fmt.Errorf("%d peers are called %s: give the whole ID, one of %s", len(found), name, strings.Join(ids, ", "))
}

// plain takes away what package http puts around an error.
func plain(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil || !strings.HasPrefix(err.Error(), "Get ") && !strings.HasPrefix(err.Error(), "Post ") {
			return err
		}
		err = inner
	}
}
