package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/ringrun/ringrun/elastic"
)

// How long recovery takes, from the signal to the next committed step; the bars of
// a long run are those of docs/protocol.md. In a short one, on a machine that may be
// busy with other tests, only what hangs fails, and what waits for silence.
//
//	go test ./cmd/mnist -run TestRealRecovery -v -recoveries 20
var recoveries = flag.Int("recoveries", 1, "how many peers TestRealRecovery kills, and how many it stops")

// A tail reads the audit while it is written.
type tail struct {
	t    *testing.T
	path string
	file *os.File // nil: it is not there yet
	rest []byte   // read, and not a whole line or not looked at
}

// more reads what has been written since.
func (a *tail) more() {
	a.t.Helper()
	if a.file == nil {
		var err error
		if a.file, err = os.Open(a.path); os.IsNotExist(err) {
			return
		} else if err != nil {
			a.t.Fatal(err)
		}
		a.t.Cleanup(func() { a.file.Close() })
	}
	b, err := io.ReadAll(a.file)
	if err != nil {
		a.t.Fatal(err)
	}
	a.rest = append(a.rest, b...)
}

// step waits for a committed step that is not of the view of the last one, or for
// any if there was none.
func (a *tail) step(after uint64) elastic.Record {
	a.t.Helper()
	for late := time.Now().Add(hangTime); time.Now().Before(late); time.Sleep(time.Millisecond) {
		a.more()
		for {
			line, rest, whole := bytes.Cut(a.rest, []byte("\n"))
			if !whole {
				break
			}
			a.rest = rest
			var r elastic.Record
			if err := json.Unmarshal(line, &r); err != nil {
				a.t.Fatal(err)
			}
			if r.Kind == "step" && r.Epoch > after {
				return r
			}
		}
	}
	a.t.Fatalf("no step after view %d", after)
	return elastic.Record{}
}

// recovery sends a signal to one of four workers in the middle of some step, and
// returns how long it takes until the others have committed the next one.
func recovery(t *testing.T, victim int, sig syscall.Signal, silence time.Duration) time.Duration {
	a := &tail{t: t, path: filepath.Join(t.TempDir(), "audit")}
	j := startJob(t, "-n", "4", "-silence", silence.String(), "-audit", a.path, "PROG", "-epochs", "1000")
	last := a.step(1)
	time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond) // any moment of any step
	j.kill(victim, sig)
	began := time.Now()
	a.step(last.Epoch)
	took := time.Since(began)
	if sig == syscall.SIGSTOP {
		j.kill(victim, syscall.SIGCONT)
		j.until(`view \d+: 4 peers`) // it comes back
	}
	_ = j.cmd.Process.Signal(os.Interrupt)
	j.wait()
	return took
}

func TestRealRecovery(t *testing.T) {
	for _, tt := range []struct {
		name         string
		sig          syscall.Signal
		silence      time.Duration
		median, most time.Duration
	}{
		{"killed", syscall.SIGKILL, noSilence, 300 * time.Millisecond, time.Second},
		{"stopped", syscall.SIGSTOP, time.Second, 1500 * time.Millisecond, 1500 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var all []time.Duration
			for i := range *recoveries {
				all = append(all, recovery(t, i%4, tt.sig, tt.silence))
			}
			slices.Sort(all)
			median, worst := all[len(all)/2], all[len(all)-1]
			t.Logf("the next step after %v (median of %d), %v (worst), %v (best)", median.Round(time.Millisecond), len(all),
				worst.Round(time.Millisecond), all[0].Round(time.Millisecond))
			if len(all) < 10 {
				tt.median, tt.most = noSilence*3/4, noSilence*3/4
			}
			if median > tt.median || worst > tt.most {
				t.Errorf("median %v, worst %v; want at most %v and %v: %s", median, worst, tt.median, tt.most, fmt.Sprint(all))
			}
		})
	}
}
