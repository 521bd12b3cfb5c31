package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/ringrun/ringrun/cmd/ringrun/doctor"
	"github.com/ringrun/ringrun/cmd/ringrun/paths"
	"golang.org/x/sys/unix"
)

const (
	orphanGrace = 500 * time.Millisecond // from SIGTERM to SIGKILL when the launcher is gone
	killWait    = time.Second            // how long a killed process may take to be gone
)

// An agent runs the workers of one host for a launcher that may be on another.
type agent struct {
	guard *guard
	dir   string // where workers start, once known

	outMu sync.Mutex
	out   *json.Encoder

	workers sync.WaitGroup
	servant doctor.Servant
	paths   paths.Servant

	pulse    pulse
	detached bool // the end of stdin means nothing any more

	liveMu sync.Mutex
	live   map[int]*worker // by process id

	hunger hunger
}

// runAgent serves the launcher on stdin and stdout until stdin ends. It must run
// in the main goroutine, see init.
func runAgent() error {
	// Caught, not ignored: workers would inherit that. The launcher decides
	// what a Ctrl-C means, and its death shows at stdin.
	unheard := make(chan os.Signal, 1)
	signal.Notify(unheard, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM)

	g, err := startGuard()
	if err != nil {
		return err
	}
	defer g.close()
	a := &agent{guard: g, out: json.NewEncoder(os.Stdout), live: map[int]*worker{}}
	defer a.paths.Close()
	defer a.end()
	a.send(event{Kind: evReady, SSH: os.Getenv("SSH_CONNECTION")})
	requests, broken := readRequests(hearing{os.Stdin, a.pulse.heard}, a.alive())
	beat := time.NewTicker(time.Hour)
	defer beat.Stop()
	for {
		select {
		case <-beat.C:
			if lease := a.pulse.lease; lease > 0 && a.pulse.beat() >= lease {
				return fmt.Errorf("no word from the launcher for %v: its workers end here", lease)
			}
		case r, ok := <-requests:
			if !ok {
				if a.detached {
					a.outlive(terminate)
					return nil
				}
				return <-broken
			}
			if r.Lease > 0 && a.pulse.lease != r.Lease {
				a.pulse.lease = r.Lease
				beat.Reset(beatOf(r.Lease))
			}
			a.serve(r)
		case <-terminate:
			return nil
		}
	}
}

// alive answers, for each call, that this agent is. Nothing else waits for that:
// when nobody reads our events, what the launcher wants is still done.
func (a *agent) alive() func() {
	asked := make(chan struct{}, 1)
	go func() { // until the process ends
		for range asked {
			a.send(event{Kind: evAlive})
		}
	}()
	return func() {
		select {
		case asked <- struct{}{}:
		default: // an answer is on its way
		}
	}
}

// readRequests sends what it reads until the end, and then why it ended. It calls
// alive for each renewal of the lease, and sends only the first of them.
func readRequests(r io.Reader, alive func()) (<-chan request, <-chan error) {
	requests, broken := make(chan request), make(chan error, 1)
	go func() {
		defer close(requests)
		var lease time.Duration
		for d := json.NewDecoder(r); ; {
			var q request
			if err := d.Decode(&q); err != nil {
				if err == io.EOF {
					err = nil
				}
				broken <- err
				return
			}
			if q.Lease > 0 {
				alive()
			}
			if q.Lease == 0 || q.Lease != lease {
				requests <- q
			}
			lease = max(lease, q.Lease)
		}
	}()
	return requests, broken
}

// outlive waits for the last worker, or for a signal to end them.
func (a *agent) outlive(terminate <-chan os.Signal) {
	gone := make(chan struct{})
	go func() {
		a.workers.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-terminate:
	}
}

func (a *agent) serve(r request) {
	if r.Detach {
		a.detach()
	}
	if r.Signal != 0 {
		a.signal(r.Signal, r.Only, "by ringrun")
	}
	if r.Doctor != nil {
		a.examine(*r.Doctor)
	}
	if r.Paths != nil {
		a.network(*r.Paths)
	}
	if r.Start == nil {
		return
	}
	w, err := startWorker(a, *r.Start)
	if err != nil {
		a.send(event{Kind: evRefused, Worker: r.Start.Worker, Text: err.Error()})
		return
	}
	a.send(event{Kind: evStarted, Worker: w.index})
	a.workers.Go(func() { w.run(a) })
}

// send tells the launcher. If it is gone, the end of stdin says so as well.
func (a *agent) send(e event) {
	a.outMu.Lock()
	defer a.outMu.Unlock()
	if a.out == nil {
		return
	}
	_ = a.out.Encode(e)
}

// signal reaches the workers, or only some, and all they have started in their
// groups.
func (a *agent) signal(s syscall.Signal, only []int, why string) {
	a.liveMu.Lock()
	defer a.liveMu.Unlock()
	for pid, w := range a.live {
		if only == nil || slices.Contains(only, w.index) {
			w.asked = unix.SignalName(s) + " " + why
			_ = syscall.Kill(-pid, s) // gone already: nothing to do
		}
	}
}

// asked says how and why a worker was asked to end, "" if it was not.
func (a *agent) asked(w *worker) string {
	a.liveMu.Lock()
	defer a.liveMu.Unlock()
	return w.asked
}

func (a *agent) add(w *worker) {
	a.liveMu.Lock()
	defer a.liveMu.Unlock()
	a.live[w.pid] = w
}

// remove comes before the worker is reaped, where the system allows: its number
// may belong to another process afterwards.
func (a *agent) remove(w *worker) {
	a.liveMu.Lock()
	delete(a.live, w.pid)
	a.liveMu.Unlock()
	a.guard.release(w.pid)
}

// end leaves no worker behind.
func (a *agent) end() {
	gone := make(chan struct{})
	go func() {
		a.workers.Wait()
		close(gone)
	}()
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		a.signal(s, nil, "because its launcher was gone")
		grace := time.NewTimer(orphanGrace)
		select {
		case <-gone:
			grace.Stop()
			return
		case <-grace.C:
		}
	}
}

// startIn is where workers start: the launcher's folder if this host has it.
func (a *agent) startIn(dir string) string {
	if a.dir != "" {
		return a.dir
	}
	a.dir = dir
	if st, err := os.Stat(dir); err == nil && st.IsDir() {
		return a.dir
	}
	var err error
	if a.dir, err = os.UserHomeDir(); err != nil {
		a.dir = "/"
	}
	host, _ := os.Hostname()
	a.send(event{Kind: evNote, Text: fmt.Sprintf("%s has no folder %s: workers start in %s there", host, dir, a.dir)})
	return a.dir
}
