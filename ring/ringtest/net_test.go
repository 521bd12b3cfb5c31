package ringtest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

func TestNet(t *testing.T) {
	for _, opts := range []ringtest.Options{
		{},
		{FrameBytes: 4096, Lanes: 3, Window: 1 << 20, Delay: time.Millisecond},
		{FrameBytes: 4096, Window: 1 << 16, Pollable: true},
	} {
		t.Run(fmt.Sprintf("%+v", opts), func(t *testing.T) {
			ringtest.TestTransport(t, func(t testing.TB, n int) []ring.Transport {
				ringtest.CheckLeaks(t)
				net := ringtest.NewNet(opts)
				var ts []ring.Transport
				for i := range n {
					tr := net.Transport(fmt.Sprintf("p%d", i))
					t.Cleanup(func() { tr.Close() })
					ts = append(ts, tr)
				}
				return ts
			})
		})
	}
}
