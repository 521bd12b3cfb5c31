package membership

import (
	"context"
	"fmt"
	"slices"
	"testing"
)

// A founder hears how its group came to be, and how the death of a peer led to the
// next view.
func TestNotices(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), ample)
	defer cancel()
	var heard []string // the node's goroutine writes, until Close has returned
	a, err := Start(ctx, Config{
		ID: "a", Run: "test", Secret: []byte(testSecret), Found: true, Expect: 2,
		Notice: func(n Notice) { heard = append(heard, fmt.Sprintf("%s %d %s %s", n.What, n.Epoch, n.Peer, n.Text)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := Start(ctx, Config{ID: "b", Run: "test", Secret: []byte(testSecret), Join: []string{a.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	for epoch, n := range []*Node{a, b, a} {
		if epoch == 2 {
			b.Close()
		}
		if _, err := n.Next(ctx, uint64(max(epoch, 1))); err != nil {
			t.Fatal(err)
		}
	}
	a.Close()
	at := -1
	for _, want := range []string{"decided 1  ", "wanted 1  1 coming: b", "decided 2  ", "proven 2 b ", "decided 3  "} {
		i := slices.Index(heard, want)
		if i <= at {
			t.Errorf("%q is number %d, want it after number %d, of %q", want, i, at, heard)
		}
		at = i
	}
}

// A noticer tells each thing once, and nothing of the view before.
func TestNoticer(t *testing.T) {
	var heard []string
	n := newNoticer(func(n Notice) { heard = append(heard, fmt.Sprintf("%s %d %s", n.What, n.Epoch, n.Peer)) })
	a := newAgreement(Peer{ID: "a"}, true, "", 0, 0)
	a.view = View{Epoch: 4, Group: "a", Peers: []Peer{{ID: "a"}, {ID: "b"}, {ID: "c"}, {ID: "d"}}}
	n.look(a)
	a.renew(4)
	n.look(a)
	a.setDead("b")
	a.step(message{Kind: kindPrepare, From: "c", Epoch: 5, Ballot: ballot{3, 2}, Group: "a"})
	n.look(a)
	n.look(a)
	a.step(message{Kind: kindDecided, From: "c", Epoch: 5, View: &View{Epoch: 5, Group: "a", Peers: []Peer{{ID: "c"}, {ID: "d"}}}})
	n.look(a)
	n.look(a)
	want := []string{"decided 4 ", "wanted 4 ", "suspected 4 b", "suspected 4 c", "suspected 4 d", "proven 4 b", "proposed 4 c", "left out 5 "}
	if !slices.Equal(heard, want) {
		t.Errorf("heard %q, want %q", heard, want)
	}
}
