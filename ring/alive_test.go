package ring

import "testing"

// TestBeats feeds the counter of one link tick by tick. In pulses a dot is a
// tick at which nobody waits for the peer, a minus one at which somebody waits
// in vain, a plus one since which something has arrived.
func TestBeats(t *testing.T) {
	for _, tt := range []struct {
		pulses string
		at     int // the tick at which the peer is found silent, -1 for never
	}{
		{"++++++++++++", -1},
		{"............................", -1},
		{"+-------+-------+-------+", -1},
		{"+--------", 8},
		{"....+--------", 12},
		{"+-------.+--------", 17}, // the wait begins anew
	} {
		var b beats
		var pulse uint32
		at := -1
		for i, c := range tt.pulses {
			switch c {
			case '+':
				pulse += 2 - (pulse+1)%2 // odd, and not as before
			case '.':
				pulse += pulse % 2
			}
			if b.silent(pulse) && at < 0 {
				at = i
			}
		}
		if at != tt.at {
			t.Errorf("%s: silent at tick %d, want %d", tt.pulses, at, tt.at)
		}
	}
}

func TestHeartbeatOnlyWhenIdle(t *testing.T) {
	var b, rare beats
	for i, tt := range []struct {
		sends      uint32
		want, rare bool
	}{
		{0, true, false}, {1, false, false}, {1, true, false}, {1, true, false}, {1, true, true},
		{2, false, false}, {5, false, false}, {9, false, false}, {9, true, false},
	} {
		if got := b.idle(tt.sends, ticksPerAlive); got != tt.want {
			t.Errorf("tick %d, %d frames sent: idle = %v, want %v", i, tt.sends, got, tt.want)
		}
		if got := rare.idle(tt.sends, ticksPerRare); got != tt.rare {
			t.Errorf("tick %d, %d frames sent: a chord's idle = %v, want %v", i, tt.sends, got, tt.rare)
		}
	}
}
