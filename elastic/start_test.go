package elastic

import (
	"testing"
	"time"
)

// A founder that has read its data for a minute gives the others as long, and
// more; one that a scheduler has started waits as long as the others would for it.
func TestStartPatience(t *testing.T) {
	for _, tt := range []struct{ startup, joinWait, want time.Duration }{
		{0, 0, startTimeout},
		{-time.Hour, 0, startTimeout}, // clocks
		{time.Minute, 0, startTimeout + 2*time.Minute},
		{24 * time.Hour, 0, startTimeout + 2*longestStartup}, // it has done other things before
		{time.Second, 10 * time.Minute, 10 * time.Minute},
	} {
		if got := startPatience(tt.startup, tt.joinWait); got != tt.want {
			t.Errorf("startPatience(%v, %v) = %v, want %v", tt.startup, tt.joinWait, got, tt.want)
		}
	}
}
