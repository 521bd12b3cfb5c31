package webtest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// FreePorts returns the first of n ports of 127.0.0.1 that follow each other, and
// of which nobody has one now. They are below those that a system gives to whoever
// wants any, so that nobody is given one before the test uses it.
func FreePorts(t testing.TB, n int) (first int) {
	t.Helper()
	for range 100 {
		first = 10_000 + rand.IntN(20_000)
		if free(first, n) {
			return first
		}
	}
	t.Fatalf("no %d free ports in a row", n)
	return 0
}

func free(first, n int) bool {
	for port := first; port < first+n; port++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return false
		}
		defer l.Close()
	}
	return true
}
