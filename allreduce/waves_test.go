package allreduce

import (
	"fmt"
	"strings"
	"testing"
)

func order(pieces, legs int) (all []string) {
	v := waves{pieces: pieces, legs: legs}
	for ok := legs > 0; ok; ok = v.next() {
		all = append(all, fmt.Sprintf("%d.%d", v.leg, v.piece))
	}
	return all
}

func TestWaves(t *testing.T) {
	for _, tt := range []struct {
		pieces, legs int
		want         string
	}{
		{1, 1, "0.0"},
		{1, 3, "0.0 1.0 2.0"},
		{2, 2, "0.0 0.1 1.0 1.1"},
		{5, 3, "0.0 0.1 1.0 0.2 1.1 0.3 2.0 1.2 0.4 2.1 1.3 2.2 1.4 2.3 2.4"},
	} {
		if got := strings.Join(order(tt.pieces, tt.legs), " "); got != tt.want {
			t.Errorf("%d pieces of %d legs: %s, want %s", tt.pieces, tt.legs, got, tt.want)
		}
	}
}

// TestWavesOrder: every piece comes once, after the same piece of the leg before,
// and the last one is the last piece of the last leg.
func TestWavesOrder(t *testing.T) {
	for pieces := 1; pieces <= 7; pieces++ {
		for legs := 1; legs <= 7; legs++ {
			seen := map[string]bool{}
			all := order(pieces, legs)
			for _, s := range all {
				var leg, piece int
				fmt.Sscanf(s, "%d.%d", &leg, &piece)
				if seen[s] || leg > 0 && !seen[fmt.Sprintf("%d.%d", leg-1, piece)] || piece > 0 && !seen[fmt.Sprintf("%d.%d", leg, piece-1)] {
					t.Errorf("%d pieces of %d legs: %s is out of order in %v", pieces, legs, s, all)
				}
				seen[s] = true
			}
			if last := fmt.Sprintf("%d.%d", legs-1, pieces-1); len(all) != pieces*legs || all[len(all)-1] != last {
				t.Errorf("%d pieces of %d legs: %v, want all of them, up to %s", pieces, legs, all, last)
			}
		}
	}
}
