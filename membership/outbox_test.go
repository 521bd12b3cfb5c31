package membership

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"go.uber.org/zap"
)

// A worker that is stuck keeps a bounded number of messages, in order, and does
// not hold up those for others; the rest is dropped.
func TestOutbox(t *testing.T) {
	started, release := make(chan string, 100), make(chan struct{})
	var mu sync.Mutex
	sent := map[string][]string{}
	o := &outbox{log: zap.NewNop(), queues: make(map[string][][]byte), send: func(addr string, b []byte) error {
		started <- addr
		if addr == "slow" {
			<-release
		}
		mu.Lock()
		defer mu.Unlock()
		sent[addr] = append(sent[addr], string(b))
		return errors.New("which is logged, no more")
	}}
	o.put("slow", []byte("first"))
	<-started
	for i := range 3 * maxQueued {
		o.put("slow", fmt.Append(nil, i))
	}
	o.put("quick", []byte("hello"))
	if got := <-started; got != "quick" {
		t.Fatalf("a worker for %s started", got)
	}
	close(release)
	for range maxQueued {
		<-started
	}
	o.close()
	want := []string{"first"}
	for i := range maxQueued {
		want = append(want, fmt.Sprint(i))
	}
	if !slices.Equal(sent["slow"], want) {
		t.Errorf("sent %q, want %q", sent["slow"], want)
	}
	o.put("quick", []byte("too late"))
	if len(o.queues) != 0 || len(sent["quick"]) != 1 {
		t.Errorf("after close: queues %v, sent %q", o.queues, sent["quick"])
	}
}

// The number of workers is bounded too.
func TestOutboxWorkers(t *testing.T) {
	release := make(chan struct{})
	o := &outbox{log: zap.NewNop(), queues: make(map[string][][]byte), send: func(string, []byte) error {
		<-release
		return nil
	}}
	for i := range 2 * maxQueues {
		o.put(fmt.Sprint(i), []byte("x"))
	}
	o.mu.Lock()
	n := len(o.queues)
	o.mu.Unlock()
	if n != maxQueues {
		t.Errorf("%d workers, want %d", n, maxQueues)
	}
	close(release)
	o.close()
}
