package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ringrun/ringrun/elastic/chaos"
)

// A troupe is the workers of a trial, and the stage on which it plays. They are
// started by one goroutine, that of main; what they report comes from others.
type troupe struct {
	t      *trial
	exe    string
	guard  *guard
	out    *printer
	cred   credential
	apart  *namespaces // nil: all share the network of this machine
	shm    map[string]bool
	hunger hunger

	mu      sync.Mutex // guards all below, and the fields of actors
	actors  []*actor
	audit   chaos.Audit
	epoch   uint64
	view    []int
	cuts    int
	faults  map[chaos.Kind]int
	stall   stall
	changed chan struct{} // closed and replaced at each change
}

func newTroupe(t *trial, exe string, g *guard, out *printer) (*troupe, error) {
	secret := make([]byte, 32)
	rand.Read(secret) // never fails: see its documentation
	tr := &troupe{
		t: t, exe: exe, guard: g, out: out, cred: credential{secret: secret}, shm: segments(),
		faults: map[chaos.Kind]int{}, changed: make(chan struct{}),
	}
	if t.apart {
		var err error
		if tr.apart, err = newNamespaces(); err != nil {
			return nil, err
		}
	}
	return tr, nil
}

// begin starts the founder, and the others when it listens.
func (tr *troupe) begin(ctx context.Context) error {
	if err := tr.start(); err != nil {
		return err
	}
	if err := tr.await(ctx, func() bool { return tr.actors[0].addr != "" || tr.actors[0].ended }); err != nil {
		return err
	}
	for range tr.t.n - 1 {
		if err := tr.start(); err != nil {
			return err
		}
	}
	go tr.watch(ctx)
	return nil
}

// env describes the group to a worker; see elastic.FromEnv.
func (tr *troupe) env(i int, host string) []string {
	random := make([]byte, 2)
	rand.Read(random)
	how := "RINGRUN_FOUND=1"
	if i > 0 {
		how = "RINGRUN_JOIN=" + strings.Join(tr.addrs(), ",")
	}
	expect := tr.t.n
	if i >= tr.t.n {
		expect = 1 // a newcomer has begun nothing
	}
	return []string{
		fmt.Sprintf("RINGRUN_ID=p%d-%x", i, random), how,
		"RINGRUN_RUN=" + tr.cred.run(),
		"RINGRUN_SECRET=" + hex.EncodeToString(tr.cred.secret),
		"RINGRUN_BIND=" + net.JoinHostPort(host, "0"),
		"RINGRUN_EXPECT=" + strconv.Itoa(expect),
		"RINGRUN_TRANSPORT=" + tr.t.transport, "RINGRUN_CODEC=" + tr.t.codec,
		"RINGRUN_SILENCE=" + tr.t.silence.String(), "RINGRUN_ON_PARTITION=" + tr.t.policy, "RINGRUN_LOG=" + tr.t.log,
		"RINGRUN_REPORT=3", "RINGRUN_REPORT_STEPS=1",
	}
}

// addrs returns where a newcomer may ask.
func (tr *troupe) addrs() []string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var addrs []string
	for _, a := range tr.actors {
		if !a.ended && a.addr != "" {
			addrs = append(addrs, a.addr)
		}
	}
	return addrs
}

// hears takes what a worker reports.
func (tr *troupe) hears(a *actor, line []byte) {
	var r struct {
		Event string   `json:"event"`
		Addr  string   `json:"addr"`
		Peers []string `json:"peers"`
		Error string   `json:"error"`
		chaos.Step
	}
	if err := json.Unmarshal(line, &r); err != nil {
		tr.out.note("worker %d reports what is not JSON: %q", a.number, line)
		return
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	switch r.Event {
	case "listening":
		a.addr = r.Addr
	case "view":
		if r.View > tr.epoch {
			tr.epoch, tr.view = r.View, numbers(r.Peers)
			tr.out.note("view %d: %s", r.View, strings.Join(r.Peers, " "))
		}
	case "step":
		if r.Steps > tr.audit.Steps() {
			tr.stall.step()
		}
		tr.audit.Add(r.Step)
		a.steps, a.sum = r.Steps, r.Sum
	case "done":
		a.done, a.steps, a.sum = true, r.Steps, r.Sum
		tr.stall.end()
	case "lingers":
		tr.stall.end()
	case "over":
		a.late, a.why = true, r.Error
	case "failed":
		a.why = r.Error
	}
	tr.tell()
}

// tell wakes whoever waits; mu is held.
func (tr *troupe) tell() {
	close(tr.changed)
	tr.changed = make(chan struct{})
}

// numbers returns those of workers by the IDs of peers.
func numbers(ids []string) []int {
	var out []int
	for _, id := range ids {
		n, _, _ := strings.Cut(strings.TrimPrefix(id, "p"), "-")
		if i, err := strconv.Atoi(n); err == nil {
			out = append(out, i)
		}
	}
	return out
}

// await waits until something is so.
func (tr *troupe) await(ctx context.Context, so func() bool) error {
	for {
		tr.mu.Lock()
		is, changed := so(), tr.changed
		tr.mu.Unlock()
		if is {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// over reports whether all workers have ended; mu is held.
func (tr *troupe) over() bool {
	for _, a := range tr.actors {
		if !a.ended {
			return false
		}
	}
	return true
}

// watch looks how the workers are until ctx ends.
func (tr *troupe) watch(ctx context.Context) {
	look := time.NewTicker(lookTime)
	defer look.Stop()
	for {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
		tr.mu.Lock()
		living, frozen := 0, 0
		for _, a := range tr.actors {
			if a.ended {
				continue
			}
			living++
			if a.stopped() {
				frozen++
			}
			a.weigh()
		}
		tr.stall.look(time.Now(), tr.cuts > 0 || 2*frozen >= living)
		tr.mu.Unlock()
	}
}

// close ends what still runs.
func (tr *troupe) close() {
	tr.mu.Lock()
	actors := tr.actors
	tr.mu.Unlock()
	for _, a := range actors {
		a.kill()
	}
	for _, a := range actors {
		<-a.gone
	}
	if tr.apart != nil {
		if err := tr.apart.close(); err != nil {
			tr.out.note("%v", err)
		}
	}
}
