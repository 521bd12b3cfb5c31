package membership

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"
)

// startGroup founds a group of nodes with these IDs, and waits for their view.
func startGroup(t *testing.T, ctx context.Context, ids ...string) []*Node {
	t.Helper()
	var nodes []*Node
	for i, id := range ids {
		cfg := Config{ID: id, Run: "test", Secret: []byte(testSecret), JoinTimeout: 4 * time.Second}
		if i == 0 {
			cfg.Found, cfg.Expect = true, len(ids)
		} else {
			cfg.Join = []string{nodes[0].Addr()}
		}
		n, err := Start(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		if v, err := n.Next(ctx, 1); err != nil || len(v.Peers) != len(ids) {
			t.Fatalf("%s: view of %d peers, %v; want %d", n.ID(), len(v.Peers), err, len(ids))
		}
	}
	return nodes
}

// Two peers wait to be let in when the only member ends. They do not wait for
// each other.
func TestTheGroupEndsBeforeNewcomersAreIn(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), ample)
	defer cancel()
	first, err := Start(ctx, Config{ID: "a", Run: "test", Secret: []byte(testSecret), Found: true, Expect: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	var late []*Node
	for _, id := range []string{"b", "c"} {
		n, err := Start(ctx, Config{ID: id, Run: "test", Secret: []byte(testSecret), Join: []string{first.Addr()}})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		late = append(late, n)
	}
	first.Close()
	began := time.Now()
	for _, n := range late {
		if _, err := n.Next(ctx, 0); err == nil || !strings.Contains(err.Error(), "has ended") {
			t.Errorf("%s: %v, want the news that the group has ended", n.ID(), err)
		}
	}
	if d := time.Since(began); d > 20*time.Second { // JoinTimeout would end it after 30
		t.Errorf("it took %v, want at most 20s", d)
	}
}

// A peer that was stopped finds the other two dead. It may not go on alone, and
// does not wait for ever.
func TestStrandedPeerGivesUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), ample)
	defer cancel()
	nodes := startGroup(t, ctx, "a", "b", "c")
	nodes[2].ask(func(a *agreement) { a.lapse(certain + 1) })
	nodes[0].Close()
	nodes[1].Close()
	if v, err := nodes[2].Next(ctx, 2); err == nil || !strings.Contains(err.Error(), "nobody has answered") {
		t.Errorf("view %v, %v; want the news that nobody answers", v, err)
	}
}

// A machine that pauses again and again does not wait for ever, either; but after a
// pause it listens before it gives up.
func TestStrandedWhilePausing(t *testing.T) {
	v := View{Epoch: 2, Group: "g", Peers: peers("a b c")}
	a := newAgreement(v.Peers[2], false, "", 0, 0)
	a.adopt(v, ballot{})
	a.lapse(certain + 1)
	a.setDead("a")
	a.setDead("b")
	const patience = 400
	given := 0
	for range 3 * patience / (3 * hearken) {
		for range 2 * hearken {
			a.tick()
			if a.stranded(patience) && given == 0 {
				given = a.now - a.mourns
			}
		}
		a.lapse(hearken)
		if a.stranded(patience) {
			t.Fatal("it has not listened since it woke")
		}
	}
	if given <= patience || given > patience+3*hearken {
		t.Errorf("it gives up after %d ticks, want about %d", given, patience)
	}
}

// Whoever was left out knows where the others are.
func TestOthers(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), ample)
	defer cancel()
	nodes := startGroup(t, ctx, "a", "b", "c")
	if err := nodes[0].Leave(ctx); err != nil {
		t.Fatal(err)
	}
	want := []string{nodes[1].Addr(), nodes[2].Addr()}
	slices.Sort(want)
	if got := nodes[0].Others(); !slices.Equal(got, want) {
		t.Errorf("others at %v, want %v", got, want)
	}
}

// A group of two may have no more. Who comes is told so, and let in if one of
// the two leaves in time.
func TestLimit(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), ample)
	defer cancel()
	first, err := Start(ctx, Config{ID: "a", Run: "test", Secret: []byte(testSecret), Found: true, Expect: 2, Limit: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	come := func(id string, patience time.Duration) *Node {
		n, err := Start(ctx, Config{ID: id, Run: "test", Secret: []byte(testSecret), Join: []string{first.Addr()}, JoinTimeout: patience})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		return n
	}
	second := come("b", ample)
	if v, err := second.Next(ctx, 0); err != nil || len(v.Peers) != 2 {
		t.Fatalf("view of %d peers, %v; want 2", len(v.Peers), err)
	}
	third := come("c", 3*time.Second)
	if _, err := third.Next(ctx, 0); err == nil || !strings.Contains(err.Error(), "has the 2 peers that it may have") {
		t.Errorf("one too many: %v", err)
	}
	third.Close()
	heir := come("d", ample)
	if err := second.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	second.Close()
	if v, err := heir.Next(ctx, 0); err != nil || len(v.Peers) != 2 || v.Rank("d") != 1 {
		t.Errorf("view %v, %v; want a and d", v, err)
	}
}
