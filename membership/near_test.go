package membership

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// on returns peers that say where they are: "a1" is a peer on host a, "-2" one
// that does not say.
func on(names string) []Peer {
	out := peers(names)
	for i, p := range out {
		out[i].Meta = []byte(strings.TrimLeft(p.ID[:1], "-"))
	}
	return out
}

func host(meta []byte) string { return string(meta) }

func TestTogether(t *testing.T) {
	for _, tt := range []struct{ all, want string }{
		{"", ""},
		{"a1", "a1"},
		{"a1 b1 a2 b2", "a1 a2 b1 b2"},
		{"b1 a1 b2 a2 b3 c1", "b1 b2 b3 a1 a2 c1"},
		{"-1 a1 -2 a2", "-1 a1 a2 -2"},
	} {
		if got := (View{Peers: together(on(tt.all), host)}); show(got) != show(View{Peers: peers(tt.want)}) {
			t.Errorf("together(%s) = %v, want %s", tt.all, show(got), tt.want)
		}
	}
	if got := (View{Peers: together(on("a1 b1 a2"), nil)}); show(got) != show(View{Peers: peers("a1 b1 a2")}) {
		t.Errorf("without names: %v", show(got))
	}
}

// TestTogetherKeeps: nobody is lost, the first stays first, hosts stand together,
// the order within a host stays, and doing it again changes nothing.
func TestTogetherKeeps(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	for range 500 {
		var names []string
		for i := range r.IntN(12) {
			names = append(names, string("abc-"[r.IntN(4)])+string(rune('a'+i)))
		}
		all := on(strings.Join(names, " "))
		got := together(all, host)
		left := map[string]bool{}
		last := map[string]string{}
		before := ""
		for i, p := range got {
			h := host(p.Meta)
			if h != before && left[h] {
				t.Fatalf("%v: host %s is in two places", show(View{Peers: got}), h)
			}
			if i == 0 && p.ID != all[0].ID {
				t.Fatalf("%s is first, was %s", p.ID, all[0].ID)
			}
			if h != "" && last[h] > p.ID {
				t.Fatalf("%s before %s", last[h], p.ID)
			}
			left[before], last[h], before = before != "", p.ID, h
		}
		again := together(got, host)
		if len(got) != len(all) || show(View{Peers: again}) != show(View{Peers: got}) {
			t.Fatalf("%d of %d peers; again: %v, once: %v", len(got), len(all), show(View{Peers: again}), show(View{Peers: got}))
		}
	}
}

func TestPrefer(t *testing.T) {
	for _, tt := range []struct{ all, order, want string }{
		{"a b c", "", "a b c"},
		{"a b c d", "a c b", "a c b d"},
		{"a b c", "c z", "c a b"},
		{"", "a", ""},
	} {
		all := peers(tt.all)
		got := View{Peers: prefer(all, strings.Fields(tt.order))}
		if show(got) != show(View{Peers: peers(tt.want)}) || show(View{Peers: all}) != show(View{Peers: peers(tt.all)}) {
			t.Errorf("prefer(%s, %s) = %v, want %s", tt.all, tt.order, show(got), tt.want)
		}
	}
}
