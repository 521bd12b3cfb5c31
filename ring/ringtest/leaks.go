package ringtest

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// CheckLeaks fails the test if goroutines that run code of this module and were
// started after this call are still there when the test and its later cleanups
// have ended.
func CheckLeaks(t testing.TB) {
	t.Helper()
	before := goroutines()
	t.Cleanup(func() {
		t.Helper()
		var left []string
		for end := time.Now().Add(patience); time.Now().Before(end); {
			left = left[:0]
			for id, stack := range goroutines() {
				if _, old := before[id]; !old && ours(stack) {
					left = append(left, stack)
				}
			}
			if len(left) == 0 {
				return
			}
			<-time.After(time.Millisecond) // one that has ended is gone a moment later
		}
		t.Errorf("%d goroutines still run:\n\n%s", len(left), strings.Join(left, "\n\n"))
	})
}

func ours(stack string) bool {
	return strings.Contains(stack, "github.com/ringrun/ringrun/") && !strings.Contains(stack, "testing.tRunner")
}

// goroutines returns the stacks of all goroutines but this one, by ID.
func goroutines() map[string]string {
	buf := make([]byte, 4<<20)
	buf = buf[:runtime.Stack(buf, true)]
	found := map[string]string{}
	for _, stack := range strings.Split(string(buf), "\n\n")[1:] {
		id, _, _ := strings.Cut(strings.TrimPrefix(stack, "goroutine "), " ")
		found[id] = stack
	}
	return found
}
