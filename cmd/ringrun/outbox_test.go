package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"testing"
	"time"
)

// An agent does not read for a while. Whoever sends to it goes on, and when it
// reads again it finds everything in order, and then the end.
func TestSendNeverWaits(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := &conn{in: newOutbox(w)}
	const n = 300
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range n {
			c.send(request{Start: &start{Worker: i, Env: []string{string(bytes.Repeat([]byte{'x'}, 1<<10))}}})
		}
		c.in.close()
	}()
	select {
	case <-sent:
	case <-time.After(patience):
		t.Fatalf("%d requests to an agent that does not read have not been sent after %v", n, patience)
	}
	d := json.NewDecoder(r)
	for i := range n {
		var q request
		if err := d.Decode(&q); err != nil || q.Start == nil || q.Start.Worker != i {
			t.Fatalf("request %d arrives as %+v, %v", i, q.Start, err)
		}
	}
	if err := d.Decode(&request{}); err != io.EOF {
		t.Errorf("after the last request: %v, want the end", err)
	}
	<-c.in.sent
}

// An agent that is gone takes nothing: what is put after that is dropped.
func TestSendToNobody(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	c := &conn{in: newOutbox(w)}
	c.send(request{Detach: true})
	<-c.in.sent
	c.send(request{Detach: true})
	c.in.close()
}
