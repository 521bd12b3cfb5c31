package elastic

import "testing"

func TestOrderIsAPermutation(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 100, 1000, 1023, 1024, 1025, 60000} {
		o := newOrder(n, 7, 3)
		seen := make([]bool, n)
		for p := range n {
			s := o.at(p)
			if s < 0 || s >= n || seen[s] {
				t.Fatalf("n=%d: position %d gives sample %d, out of range or for the second time", n, p, s)
			}
			seen[s] = true
		}
	}
}

// Orders of different epochs and seeds have about as many fixed points and
// equal neighbours in common as chance would give: a handful, not hundreds.
func TestOrdersDiffer(t *testing.T) {
	const n = 10000
	a := newOrder(n, 1, 0)
	for name, b := range map[string]order{"epoch": newOrder(n, 1, 1), "seed": newOrder(n, 2, 0), "identity": {}} {
		same, steps := 0, 0
		for p := range n {
			q := p
			if name != "identity" {
				q = b.at(p)
			}
			if a.at(p) == q {
				same++
			}
			if p > 0 && a.at(p)-a.at(p-1) == 1 {
				steps++
			}
		}
		if same > 12 || steps > 12 {
			t.Errorf("another %s: %d of %d positions agree, %d neighbours in sequence; chance gives about 1", name, same, n, steps)
		}
	}
}
