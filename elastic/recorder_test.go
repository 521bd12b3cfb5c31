package elastic

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringrun/ringrun/elastic/blackbox"
	"github.com/ringrun/ringrun/membership"
)

func kinds(r blackbox.Recording) (all []blackbox.Kind) {
	for _, e := range r.Events {
		all = append(all, e.Kind)
	}
	return all
}

// inOrder reports whether a recording has events of these kinds, in this order.
func inOrder(r blackbox.Recording, want ...blackbox.Kind) bool {
	for _, k := range kinds(r) {
		if len(want) > 0 && k == want[0] {
			want = want[1:]
		}
	}
	return len(want) == 0
}

// Of three peers one dies. The others' boxes say what came of it, and a neighbour
// has the box of the dead one with its last moments and its clock.
func TestBlackBox(t *testing.T) {
	dir := t.TempDir()
	c := newCluster(t, Samples{Count: 64, Batch: 16, Shard: 4, Epochs: 100})
	c.config = func(_ int, cfg *Config) { cfg.BlackBox = dir }
	reached := make(chan struct{})
	var once sync.Once
	c.at = func(p *peer, s Shard) error {
		if p.id == "p1-0" && s.Step == 300 {
			once.Do(func() { close(reached) })
			<-c.ctx.Done()
		}
		time.Sleep(time.Millisecond)
		return nil
	}
	for range 3 {
		c.start(3)
	}
	<-reached
	for !hasCopy(askBoxes(t, c, c.peers[0])) {
		select {
		case <-time.After(20 * time.Millisecond): // for what is asked from outside there is no event
		case <-c.ctx.Done():
			t.Fatalf("p0 has no copy of the box of p2: %+v", askBoxes(t, c, c.peers[0]))
		}
	}
	c.peers[1].kill()
	for _, p := range []*peer{c.peers[0], c.peers[2]} {
		<-p.done
		if p.err != nil {
			t.Fatalf("%s: %v", p.id, p.err)
		}
	}
	c.peers[1].cancel()
	all, _, bad, err := blackbox.ReadFolder(dir)
	if err != nil || len(bad) > 0 {
		t.Fatalf("%q, %v", bad, err)
	}
	got := map[string]blackbox.Recording{}
	for _, r := range all {
		got[r.Header.ID] = r
	}
	for _, id := range []string{"p0-0", "p2-0"} {
		if r := got[id]; !inOrder(r, blackbox.Began, blackbox.Named, blackbox.View, blackbox.RingOpen, blackbox.WentOn,
			blackbox.Steps, blackbox.View, blackbox.RingOpen, blackbox.WentOn, blackbox.Done) || !slices.Contains(kinds(r), blackbox.RingBroke) {
			t.Errorf("%s noted %v", id, kinds(r))
		}
	}
	if !slices.Contains(kinds(got["p0-0"]), blackbox.Dead) && !slices.Contains(kinds(got["p2-0"]), blackbox.Dead) {
		t.Error("nobody noted the proof of its death")
	}
	if r := got["p1-0"]; r.Gauge.Step != 300 || r.Gauge.Phase != string(Computing) || r.Gauge.Epoch != 2 || r.Gauge.Memory == 0 {
		t.Errorf("the dead peer's gauge is %+v", r.Gauge)
	}
}

// hasCopy reports whether p0 has a copy of the box of p2 in which the clocks were
// compared.
func hasCopy(all []blackbox.Recording) bool {
	return slices.ContainsFunc(all, func(r blackbox.Recording) bool {
		return r.Header.ID == "p2-0" && r.Header.Keeper == "p0-0" && inOrder(r, blackbox.Began, blackbox.View, blackbox.WentOn, blackbox.Clock)
	})
}

func askBoxes(t *testing.T, c *cluster, p *peer) (all []blackbox.Recording) {
	t.Helper()
	client, err := membership.ControlClient(c.secret, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://" + p.g.node().Addr() + "/blackbox")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b Boxes
	if err := json.NewDecoder(resp.Body).Decode(&b); err != nil || resp.StatusCode != http.StatusOK || b.Clock == 0 {
		t.Fatalf("%v, %v", resp.Status, err)
	}
	for _, box := range b.Boxes {
		r, err := blackbox.Parse(box)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// A panic of the program is noted and goes on; what it says when it returns is too.
func TestBlackBoxOfFailures(t *testing.T) {
	for _, tt := range []struct {
		train func() error
		want  blackbox.Kind
	}{
		{func() error { panic("no such layer") }, blackbox.Panicked},
		{func() error { return fmt.Errorf("no such layer") }, blackbox.Failed},
	} {
		dir := t.TempDir()
		cfg := Config{Membership: membership.Config{ID: "p0", Found: true, Secret: make([]byte, 16)}, BlackBox: dir}
		caught := any(nil)
		func() {
			defer func() { caught = recover() }()
			err := Run(t.Context(), cfg, func(context.Context, *Group) error { return tt.train() })
			if err == nil || err.Error() != "no such layer" {
				t.Errorf("Run returned %v", err)
			}
		}()
		if (caught != nil) != (tt.want == blackbox.Panicked) {
			t.Errorf("%s: Run panicked with %v", tt.want, caught)
		}
		all, _, _, err := blackbox.ReadFolder(dir)
		if err != nil || len(all) != 1 {
			t.Fatalf("%v, %v", all, err)
		}
		e := all[0].Events[len(all[0].Events)-1]
		if e.Kind != tt.want || !strings.Contains(e.Text, "no such layer") {
			t.Errorf("the last event is %+v, want %s", e, tt.want)
		}
	}
}

// Copies are of this run only, bounded in number, and take nothing twice.
func TestCopies(t *testing.T) {
	s := copies{run: "r", keeper: "me", dir: t.TempDir(), boxes: map[string]*blackbox.Box{}}
	for _, h := range []blackbox.Header{{Run: "other", ID: "p"}, {Run: "r"}, {Run: "r", ID: "me"}, {Run: "r", ID: strings.Repeat("x", 200)}} {
		if _, err := s.put(letter{Header: h}); err == nil {
			t.Errorf("a box of %+v was taken", h)
		}
	}
	events := []blackbox.Event{{Seq: 4, Time: 1, Kind: blackbox.Log}, {Seq: 5, Time: 2, Kind: blackbox.Log}}
	for i := range 2 * maxCopies {
		for range 2 {
			have, err := s.put(letter{Header: blackbox.Header{Run: "r", ID: fmt.Sprint("p", i)}, Events: events})
			if err != nil || have != 5 {
				t.Fatalf("has %d, %v", have, err)
			}
		}
	}
	s.close()
	all, _, _, err := blackbox.ReadFolder(s.dir)
	if err != nil || len(all) != maxCopies {
		t.Fatalf("%d copies, %v", len(all), err)
	}
	for _, r := range all {
		if len(r.Events) != 2 || r.Header.Keeper != "me" {
			t.Errorf("copy %+v", r)
		}
	}
}

// The copy is on another host where there is one.
func TestKeeper(t *testing.T) {
	view := func(hosts ...string) (v membership.View) {
		for i, h := range hosts {
			v.Peers = append(v.Peers, membership.Peer{ID: fmt.Sprint(i), Meta: []byte(`{"place":"` + h + `"}`)})
		}
		return v
	}
	for _, tt := range []struct {
		v    membership.View
		rank int
		want string
	}{
		{view("a", "a", "a"), 1, "2"}, {view("a", "a", "a"), 2, "0"},
		{view("a", "a", "b", "b"), 0, "2"}, {view("a", "a", "b", "b"), 3, "0"}, {view("a", "b"), 1, "0"},
	} {
		if got := keeperOf(tt.v, tt.rank); got.ID != tt.want {
			t.Errorf("of %v rank %d: %s, want %s", tt.v, tt.rank, got.ID, tt.want)
		}
	}
}
