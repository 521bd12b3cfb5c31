package main

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ringrun/ringrun/elastic"
	"github.com/ringrun/ringrun/membership"
)

// A peer that has just left is recorded for a moment longer. Whoever asks for the
// run, and names none of its peers, asks the others.
func TestAskPastTheGone(t *testing.T) {
	cred := credential{secret: []byte("the secret of this test")}
	var status elastic.Status
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(status) // the test sees what is missing
	})
	node, err := membership.Start(t.Context(), membership.Config{ID: "p1-0", Run: cred.run(), Secret: cred.secret, Found: true, Control: mux})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	status = elastic.Status{ID: "p1-0", Peers: []elastic.StatusPeer{{ID: "p1-0", Addr: node.Addr()}}}
	client, err := membership.ControlClient(cred.secret, cred.run())
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()

	a := &asker{cred: cred, client: client, addr: "127.0.0.1:1", others: []string{node.Addr()}}
	if p, err := a.find(t.Context(), "p1"); err != nil || p.Addr != node.Addr() {
		t.Errorf("found %+v, %v; want p1-0 at %s", p, err, node.Addr())
	}
}

// All peers recorded are those to ask, unless they are of several runs.
func TestOnlyRun(t *testing.T) {
	r := records{dirs: []string{filepath.Join(t.TempDir(), "runs")}}
	for _, tt := range []struct {
		addr, secret string
		want         []string // nil: an error
	}{
		{"127.0.0.1:4001", "sixteen bytes ok", []string{"127.0.0.1:4001"}},
		{"127.0.0.1:4000", "sixteen bytes ok", []string{"127.0.0.1:4000", "127.0.0.1:4001"}},
		{"127.0.0.1:4002", "other 16 bytes ok", nil},
	} {
		remove, err := r.put(tt.addr, []byte(tt.secret))
		if err != nil {
			t.Fatal(err)
		}
		defer remove()
		if got, err := r.only(); !slices.Equal(got, tt.want) || (err == nil) != (tt.want != nil) {
			t.Errorf("with %s: %q, %v; want %q", tt.addr, got, err, tt.want)
		}
	}
}
