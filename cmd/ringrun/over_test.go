package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/ringrun/ringrun/membership"
)

// A worker that comes when the run has ended says so, and is not counted among those
// who have finished; the job does not fail.
func TestMissed(t *testing.T) {
	newStage(t).ringrun("-n", "3", "-min-n", "3", workerProg(t), "-on", "p1", "-missed").ends(0,
		`^ringrun: worker 1 comes when the run has ended, and has nothing to do any more; it had 3 steps$`,
		`^ringrun: done: 2 of 3 workers finished$`)
}

// When a worker reports that the run has ended, the launcher tells those that still
// run, as long as they do.
func TestSpread(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cred := credential{secret: []byte("a secret of the test")}
	told := make(chan string, 1)
	n, err := membership.Start(ctx, membership.Config{ID: "p1", Run: cred.run(), Secret: cred.secret, Found: true,
		Control: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			told <- fmt.Sprint(r.Method, " ", r.URL.Path, " ", r.FormValue("group"), " ", r.FormValue("epoch"), " ", r.FormValue("steps"))
		})})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	j := newJob(options{}, cred, records{}, newPrinter(null, null))
	defer func() {
		j.endLife()
		j.dialers.Wait()
	}()
	gone := &peer{id: "p2", state: killed, addr: "127.0.0.1:1"}
	j.peers = []*peer{{id: "p0", state: running, addr: "127.0.0.1:1"}, {id: "p1", state: running, addr: n.Addr()}, gone}
	j.report(0, []byte(`{"event":"done","id":"p0","group":"p0+5","epoch":7,"steps":40}`))
	for range 2 {
		for heard := false; !heard; {
			select {
			case got := <-told:
				if want := "POST /over p0+5 7 40"; got != want {
					t.Errorf("told %q, want %q", got, want)
				}
				heard = true
			case <-j.agenda.timer.C:
				j.agenda.due()
			case <-ctx.Done():
				t.Fatal("the worker was not told")
			}
		}
	}
}
