package membership

import (
	"strings"
	"testing"
)

// peers makes peers of a list of names.
func peers(names string) []Peer {
	var out []Peer
	for _, n := range strings.Fields(names) {
		out = append(out, Peer{ID: n, Addr: n + ":1"})
	}
	return out
}

func set(names string) ids {
	out := ids{}
	for _, n := range strings.Fields(names) {
		out[n] = true
	}
	return out
}

func TestSuccessor(t *testing.T) {
	for _, tt := range []struct{ view, stay, come, want string }{
		{"a b c", "a b c", "", "a b c"},
		{"a b c", "b c", "", "b c"},
		{"c a b", "a c", "", "c a"},
		{"a", "a", "d c", "a c d"},
		{"c b", "c b", "a", "c b a"},
		{"a b", "a b", "d c d", "a b c d"},
		{"a b", "a", "b c", "a c"}, // b asks with its old name
		{"a b", "", "c", "c"},
		{"a b", "", "", ""},
		{"a b", "a b z", "", "a b"},
	} {
		v := View{Epoch: 7, Group: "g", Peers: peers(tt.view)}
		got := successor(v, set(tt.stay), peers(tt.come))
		want := View{Epoch: 8, Peers: peers(tt.want)}
		if show(got) != show(want) || got.Group != "g" {
			t.Errorf("successor of [%s], [%s] stay, [%s] come: %v of %q; want %v of g", tt.view, tt.stay, tt.come, show(got), got.Group, show(want))
		}
		for _, p := range got.Peers {
			if p.Addr != p.ID+":1" {
				t.Errorf("successor loses the address of %s: %q", p.ID, p.Addr)
			}
		}
	}
}

// Witnesses stay witnesses; newcomers become what they say they are.
func TestSuccessorWithWitnesses(t *testing.T) {
	v := View{Epoch: 1, Group: "g", Peers: peers("a b"), Witnesses: []Peer{{ID: "v", Witness: true}, {ID: "w", Witness: true}}, Prefer: "a"}
	got := successor(v, set("b w"), []Peer{{ID: "x", Witness: true}, {ID: "d"}})
	if show(got) != "view 2 [b d | w x]" || got.Prefer != "a" {
		t.Errorf("%s, which prefers %q; want view 2 [b d | w x], a", show(got), got.Prefer)
	}
	if v.keeps(successor(v, set("w"), peers("d"))) || !v.keeps(got) {
		t.Error("a view of newcomers and witnesses is worth something, or one with b is not")
	}
}

// A preferred member breaks ties, and needs no proof of death.
func TestPreferred(t *testing.T) {
	for _, tt := range []struct {
		view, prefer, dead, have string
		want                     bool
	}{
		{"a b", "a", "", "a", true},
		{"a b", "a", "", "b", false},
		{"a b", "a", "a", "b", false}, // laststand.go
		{"a-1 b-1", "a", "", "a-1", true},
		{"a-1 a-2", "a", "", "a-2", false}, // the first of them
		{"ab-1 b-1", "a", "", "ab-1", false},
		{"a b c d", "c", "", "c d", true},
		{"a b c d", "c", "", "a b", false},
		{"a b c d", "c", "c d", "a b", false},
		{"a b c d", "c", "a b", "c", false},
		{"a b c d", "x", "c d", "a b", true}, // not in the view
		{"a b c", "a", "", "b c", true},
	} {
		v := View{Epoch: 1, Group: "g", Peers: peers(tt.view), Prefer: tt.prefer}
		if got := quorum(v, set(tt.dead), set(tt.have)); got != tt.want {
			t.Errorf("[%s] prefer %s, [%s] dead, by [%s]: %t; want %t", tt.view, tt.prefer, tt.dead, tt.have, got, tt.want)
		}
	}
}

func TestSuccessorKeepsArguments(t *testing.T) {
	come := peers("d c")
	v := View{Epoch: 1, Group: "a", Peers: peers("a b")}
	successor(v, set("b"), come)
	if come[0].ID != "d" || v.Peers[0].ID != "a" {
		t.Errorf("successor changed its arguments: %v, %v", come, v)
	}
}

func TestQuorum(t *testing.T) {
	for _, tt := range []struct {
		view, dead, have string
		want             bool
	}{
		{"a", "", "a", true},
		{"a", "", "", false},
		{"a b", "", "a", false},
		{"a b", "b", "a", true}, // the last of two
		{"a b", "", "a b", true},
		{"a b c", "", "a b", true},
		{"a b c", "", "c", false},
		{"a b c", "b", "c", false},
		{"a b c", "a b", "c", false}, // more than half are dead: laststand.go
		{"a b c d", "", "a b", false},
		{"a b c d", "c", "a b", false},
		{"a b c d", "c d", "a b", true},
		{"a b c d", "c d", "a", false},
		{"a b c d e", "b c", "d e", false}, // a majority of the living
		{"a b c d e", "b c", "a d e", true},
		{"a b c d e", "a b c", "d e", false},
		{"a b c d e", "d e", "a b", false},
		{"a b c", "", "x y z", false}, // strangers do not count
		{"a b c", "x y", "a", false},
		{"a b c", "a b c", "", false},
	} {
		v := View{Epoch: 1, Group: "g", Peers: peers(tt.view)}
		if got := quorum(v, set(tt.dead), set(tt.have)); got != tt.want {
			t.Errorf("quorum of [%s], [%s] dead, by [%s]: %t; want %t", tt.view, tt.dead, tt.have, got, tt.want)
		}
	}
}

// TestQuorumsMeet compares all pairs of quorums of small views: two that share no
// member must each need the death of all of the other, which cannot be.
func TestQuorumsMeet(t *testing.T) {
	for n := 1; n <= 5; n++ {
		all := peers(strings.Join(strings.Split("abcde"[:n], ""), " "))
		quorumsMeet(t, View{Epoch: 1, Group: "g", Peers: all})
		quorumsMeet(t, View{Epoch: 1, Group: "g", Peers: all, Prefer: all[n/2].ID})
		quorumsMeet(t, View{Epoch: 1, Group: "g", Peers: all, Prefer: "nobody"})
		quorumsMeet(t, View{Epoch: 1, Group: "g", Peers: all[:n/2+1], Witnesses: all[n/2+1:]})
		quorumsMeet(t, View{Epoch: 1, Group: "g", Peers: all[:n/2+1], Witnesses: all[n/2+1:], Prefer: all[n-1].ID})
	}
}

func quorumsMeet(t *testing.T, v View) {
	t.Helper()
	{
		n := len(v.members())
		all := 1 << n
		pick := func(bits int) ids {
			out := ids{}
			for i, p := range v.members() {
				if bits>>i&1 == 1 {
					out[p.ID] = true
				}
			}
			return out
		}
		for dead1, have1 := range pairs(all) {
			if !quorum(v, pick(dead1), pick(have1)) {
				continue
			}
			for dead2, have2 := range pairs(all) {
				if have1&have2 != 0 || !quorum(v, pick(dead2), pick(have2)) {
					continue
				}
				if v.preferred() != "" || have1&^dead2 != 0 || have2&^dead1 != 0 {
					t.Fatalf("of %v, %q preferred, %b decide with %b dead, and %b with %b dead", show(v), v.Prefer, have1, dead1, have2, dead2)
				}
			}
		}
	}
}

// pairs yields all pairs of numbers below n.
func pairs(n int) func(yield func(a, b int) bool) {
	return func(yield func(a, b int) bool) {
		for i := range n * n {
			if !yield(i/n, i%n) {
				return
			}
		}
	}
}

func TestRank(t *testing.T) {
	v := View{Epoch: 1, Group: "a", Peers: peers("c a b")}
	for id, want := range map[string]int{"c": 0, "a": 1, "b": 2, "d": -1, "": -1} {
		if got := v.Rank(id); got != want {
			t.Errorf("Rank(%q) = %d, want %d", id, got, want)
		}
	}
}
