package membership

import (
	"context"
	"testing"
)

// A peer that closes its port without a word is missed at once, although nobody
// says that the epoch is of no use: the peer before it in the ring holds on to it.
func TestDeathIsSeenWithoutLinks(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), ample)
	defer cancel()
	secret := []byte("a secret of this test")
	first, err := Start(ctx, Config{ID: "a", Run: "test", Secret: secret, Found: true, Expect: 3})
	if err != nil {
		t.Fatal(err)
	}
	nodes := []*Node{first}
	for _, id := range []string{"b", "c"} {
		n, err := Start(ctx, Config{ID: id, Run: "test", Secret: secret, Join: []string{first.Addr()}})
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		defer n.Close()
		if v, err := n.Next(ctx, 1); err != nil || len(v.Peers) != 3 {
			t.Fatalf("%s: view of %d peers, %v; want 3", n.ID(), len(v.Peers), err)
		}
	}
	nodes[1].Close()
	for _, n := range []*Node{nodes[0], nodes[2]} {
		v, err := n.Next(ctx, 2)
		if err != nil || len(v.Peers) != 2 || v.Rank("b") >= 0 {
			t.Errorf("%s: view %v, %v; want a and c", n.ID(), v, err)
		}
	}
}

// A port may have passed to another peer before the one that holds on looked for
// the first time. It does not hold on to the wrong one, which would tell it nothing.
func TestHoldsOnToTheRightOne(t *testing.T) {
	a := talk(t, "a")
	b := talk(t, "b", a.addr())
	ctx, cancel := context.WithTimeout(t.Context(), ample)
	defer cancel()
	if a.hold(ctx, "earlier", b.addr()) || ctx.Err() != nil {
		t.Errorf("held on to b in place of the peer that had its port before: %v", ctx.Err())
	}
	b.close()
	if a.hold(ctx, "b", b.addr()) {
		t.Error("held on to a closed port")
	}
}
