package main

import (
	"strings"
	"testing"
)

// A witness that is started again, on the same host and perhaps with the same
// process number, is another one; -on-partition prefer=witness-HOST means both.
func TestWitnessIsNew(t *testing.T) {
	a, b := witnessID("h-1"), witnessID("h-1")
	if a == b || !strings.HasPrefix(a, "witness-h-1-") || strings.Count(a, "-") != 3 {
		t.Errorf("%s, then %s", a, b)
	}
}
