package elastic

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ringrun/ringrun/membership"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
	"github.com/ringrun/ringrun/ring/shm"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// open returns the transports of p0, p1, …, each with a book of its own. Those
// from p2 on say that they are on another host.
func open(t testing.TB, n int) []*edges {
	t.Helper()
	peers := map[string]meta{}
	var ts []*edges
	for i := range n {
		cfg := Config{Transport: "auto", Membership: membership.Config{
			ID: fmt.Sprintf("p%d", i), Run: "test", Secret: []byte("sixteen bytes or more"),
		}}.withDefaults()
		m := meta{Transport: "auto"}
		tr, err := listen(cfg, &addressBook{}, &m, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tr.Close() })
		if i >= 2 {
			m.Host = "elsewhere"
		}
		peers[cfg.Membership.ID] = m
		ts = append(ts, tr.(*edges))
	}
	for _, tr := range ts {
		tr.book.set(peers)
	}
	return ts
}

// TestEdges: peers of which some share memory and some do not.
func TestEdges(t *testing.T) {
	ringtest.TestTransport(t, func(t testing.TB, n int) []ring.Transport {
		ringtest.CheckLeaks(t)
		var ts []ring.Transport
		for _, tr := range open(t, n) {
			ts = append(ts, tr)
		}
		return ts
	})
}

// TestEdgesChooseAlike: both ends of every link take the same way, which is
// shared memory where both have the same.
func TestEdgesChooseAlike(t *testing.T) {
	if shm.Identity() == "" {
		t.Skip("no shared memory here")
	}
	ts := open(t, 4)
	for i, mine := range ts {
		for j, theirs := range ts {
			if i == j {
				continue
			}
			p, q := fmt.Sprintf("p%d", i), fmt.Sprintf("p%d", j)
			_, dials := mine.to(ring.Edge{Self: p, Peer: q}).(*shm.Transport)
			_, accepts := theirs.to(ring.Edge{Self: q, Peer: p}).(*shm.Transport)
			if want := i/2 == j/2; dials != want || accepts != want {
				t.Errorf("from %s to %s: shared memory %v, at the other end %v; want %v", p, q, dials, accepts, want)
			}
		}
	}
	here := map[string]meta{"p0": ts[0].book.peers["p0"], "p1": ts[0].book.peers["p1"]}
	if ts[0].within(here, here["p0"]) != ring.Transport(ts[0].shm) {
		t.Error("two peers of one host do not have a ring of shared memory alone")
	}
	for i, tr := range ts {
		if tr.within(tr.book.peers, tr.book.peers[fmt.Sprintf("p%d", i)]) != ring.Transport(tr) {
			t.Error("peers of two hosts have a ring of shared memory alone")
		}
	}
	delete(ts[0].book.peers, "p1")
	if _, ok := ts[0].to(ring.Edge{Self: "p0", Peer: "p1"}).(*shm.Transport); ok {
		t.Error("shared memory with a peer that is not in the view")
	}
}

// TestLinksAreLogged: a generation says once how it reaches its neighbours.
func TestLinksAreLogged(t *testing.T) {
	logs, seen := observer.New(zap.InfoLevel)
	s := &session{node: startNode(t), logger: zap.New(logs)}
	own := s.node.ID()
	v := membership.View{Epoch: 7, Peers: []membership.Peer{{ID: "a"}, {ID: own}, {ID: "b"}}}
	s.sayLinks(v, map[string]meta{
		"a": {Transport: "auto", SHM: "@a", Host: "here"},
		own: {Transport: "auto", SHM: "@own", Host: "here"},
		"b": {Transport: "auto", SHM: "@b", Host: "there"},
	})
	entries := seen.All()
	if len(entries) != 1 {
		t.Fatalf("%d entries, want one", len(entries))
	}
	got := fmt.Sprint(entries[0].ContextMap())
	for _, want := range []string{"epoch:7", "next:b", "by:tcp", "previous:a", "from it by:shm"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s does not mention %s", got, want)
		}
	}
}

func startNode(t *testing.T) *membership.Node {
	t.Helper()
	n, err := membership.Start(t.Context(), membership.Config{Run: "test", Secret: []byte("sixteen bytes or more"), Found: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// TestOtherHost: a peer that wants shared memory and nothing else cannot join a
// group on another host, and says why.
func TestOtherHost(t *testing.T) {
	s := &session{node: startNode(t), book: &addressBook{}, logger: zap.NewNop()}
	own := membership.Peer{ID: s.node.ID(), Meta: []byte(`{"transport":"shm","codec":"raw","shm":"@own","host":"here"}`)}
	for host, ok := range map[string]bool{"here": true, "there": false} {
		first := membership.Peer{ID: "a", Meta: []byte(`{"transport":"shm","codec":"raw","shm":"@a","host":"` + host + `"}`)}
		err := s.learn(membership.View{Epoch: 2, Peers: []membership.Peer{first, own}})
		if ok != (err == nil) {
			t.Errorf("the first peer is %s: %v", host, err)
		}
		if err != nil && !(strings.Contains(err.Error(), "there") && strings.Contains(err.Error(), "here") && strings.Contains(err.Error(), "shm")) {
			t.Errorf("%v does not mention both hosts and the transport", err)
		}
	}
}
