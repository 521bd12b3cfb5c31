package rtc

import (
	"fmt"
	"testing"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

func TestTransport(t *testing.T) {
	ringtest.TestTransport(t, func(t testing.TB, n int) []ring.Transport {
		leakCheck(t)
		w := newWire()
		var ts []ring.Transport
		for i := range n {
			ts = append(ts, w.peer(t, fmt.Sprintf("p%d", i)))
		}
		return ts
	})
}
