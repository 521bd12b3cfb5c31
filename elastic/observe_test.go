package elastic

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringrun/ringrun/elastic/metrics"
	"github.com/ringrun/ringrun/membership"
)

// What peers see happen is counted by each, and told to who watches.
func TestWatched(t *testing.T) {
	c := newCluster(t, Samples{Count: 64, Batch: 16, Shard: 4, Epochs: 2})
	killed, free := make(chan struct{}), make(chan struct{})
	c.applied = func(p *peer, step uint64) { p.g.Observe("loss", 1/float64(step)) }
	c.before = func(p *peer) error {
		if p.id == "p2-0" && p.g.Steps() == 3 {
			p.kill()
			close(killed)
			return errKilled
		}
		return nil
	}
	c.at = func(p *peer, s Shard) error {
		if p.id != "p2-0" && s.Step == 7 {
			<-free
		}
		return nil
	}
	c.config = func(i int, cfg *Config) { cfg.Metrics = "127.0.0.1:0" }
	pages := make(chan string, 16)
	c.heard = func(p *peer, e event) {
		if e.Event == "metrics" && p.id == "p0-0" {
			pages <- e.Addr
		}
	}
	for range 3 {
		c.start(3)
	}
	<-killed
	p := c.peers[0]
	<-p.began
	for c.glance(p, 0).Status.Steps < 7 {
		time.Sleep(10 * time.Millisecond) // for what is asked from outside there is no event
	}
	g := c.glance(p, 0)
	if g.Status.Retries == 0 || len(g.Status.Observed) != 1 || float64(g.Status.Observed["loss"]) != 1./6 || g.Ended {
		t.Errorf("%+v", g)
	}
	kinds := map[string]Event{}
	for _, e := range g.Events {
		if e.Kind != EventView || e.Lost != nil {
			kinds[e.Kind] = e
		}
	}
	if v := kinds[EventView]; !slices.Equal(v.Lost, []string{"p2-0"}) || len(v.Peers) != 2 || len(v.Was) != 3 {
		t.Errorf("view %+v in %+v", v, g.Events)
	}
	if kinds[EventRetry].Step != 3 || kinds[EventBroken].Text == "" {
		t.Errorf("events %+v", g.Events)
	}
	if late := c.glance(p, g.Last); len(late.Events) != 0 {
		t.Errorf("told twice: %+v", late.Events)
	}
	// Samples: 16 three times, 12 without the dead peer, the 4 left of that walk, and 16 twice.
	text := c.ask(p, "/metrics")
	for _, want := range []string{
		"ringrun_step 7\n", "ringrun_step_seconds_count 6\n", "ringrun_samples_total 96\n", "ringrun_peers_lost_total 1\n",
		"ringrun_retries_total 1\n", "ringrun_ring_breaks_total 1\n", `ringrun_phase_seconds_total{phase="computing"}`, "ringrun_view_peers 2\n",
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	resp, err := http.Get(<-pages)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || !strings.Contains(string(b), "\nringrun_step 7\n") {
		t.Errorf("%v: %s", err, b)
	}
	close(free)
	for _, p := range c.peers {
		<-p.done
		if p.err != nil && p.id != "p2-0" {
			t.Errorf("%s: %v", p.id, p.err)
		}
	}
}

func (c *cluster) ask(p *peer, path string) string {
	c.t.Helper()
	client, err := membership.ControlClient(c.secret, "test")
	if err != nil {
		c.t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(c.ctx, http.MethodGet, "http://"+p.g.node().Addr()+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		c.t.Fatalf("%s: %s %v: %s", path, resp.Status, err, b)
	}
	return string(b)
}

func (c *cluster) glance(p *peer, after uint64) (g Glance) {
	c.t.Helper()
	if err := json.Unmarshal([]byte(c.ask(p, fmt.Sprintf("/glance?events=%d&points=0", after))), &g); err != nil {
		c.t.Fatal(err)
	}
	return g
}

func TestEventCompare(t *testing.T) {
	e := Event{Kind: EventView, Peers: []string{"a", "d", "e"}}
	e.compare([]string{"a", "b", "c", "d"}, []string{"c"})
	if !slices.Equal(e.Lost, []string{"b"}) || !slices.Equal(e.Left, []string{"c"}) || !slices.Equal(e.Joined, []string{"e"}) {
		t.Errorf("%+v", e)
	}
}

func TestDiary(t *testing.T) {
	var d diary
	for i := range diarySize + 10 {
		d.add(Event{Step: uint64(i)})
	}
	all := d.after(0)
	if len(all) != diarySize || all[0].Step != 10 || all[0].Number != 11 {
		t.Errorf("%d events from %+v on", len(all), all[0])
	}
	if late := d.after(diarySize + 8); len(late) != 2 || late[0].Number != diarySize+9 {
		t.Errorf("the last: %+v", late)
	}
	if none := d.after(diarySize + 10); len(none) != 0 {
		t.Errorf("none: %+v", none)
	}
}

// What a launcher hears is noted for watchers, if they do not see it themselves.
func TestHeard(t *testing.T) {
	tl := newTally()
	r := newReport(io.Discard)
	r.heard = tl.heard
	r.listening("p0", "10.0.0.1:1")
	r.stalled("p0", 7, []string{"p1"}, "p1 (computing)")
	r.slow("slow", "p0", 8, Slow{"p1", 1.5, "swapping"})
	r.slow("recovered", "p0", 9, Slow{ID: "p1", Factor: 1})
	r.silent("p0", "p1", "nothing for 1s")
	r.restored("p0", "saved/1", 10)
	r.send(event{Event: "done", ID: "p0", Steps: 11})
	var got []string
	for _, e := range tl.diary.after(0) {
		got = append(got, fmt.Sprintf("%s %d%v %s", e.Kind, e.Step, e.Peers, e.Text))
	}
	want := []string{
		"stalled 7[p1] p1 (computing)", "slow 8[p1] p1 computes 1.5 times as long as the others (swapping)",
		"recovered 9[p1] ", "silent 0[p1] nothing for 1s", "restored 10[] saved/1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("noted %q, want %q", got, want)
	}
}

// A point is made each second in which steps are committed, and when somebody
// asks although none is.
func TestHistory(t *testing.T) {
	start := time.Now()
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	tl := newTally()
	h := &tl.history
	h.at = start
	for i := range 25 {
		tl.samples += 32
		tl.lastStep++
		h.step(at(float64(i+1)/10), tl)
	}
	if len(h.points) != 2 || math.Abs(h.points[1].Steps-10) > 0.01 || math.Abs(h.points[1].Samples-320) > 0.5 || h.points[1].Step != 20 {
		t.Fatalf("%+v", h.points)
	}
	h.look(at(3.5), 100*time.Millisecond, tl) // five steps, and then nothing
	h.look(at(3.7), 100*time.Millisecond, tl)
	h.look(at(6), 100*time.Millisecond, tl)
	h.look(at(12), 10*time.Second, tl) // a step may be under way
	if len(h.points) != 4 || h.points[3].Steps != 0 || math.Abs(h.points[2].Steps-10./3) > 0.5 {
		t.Errorf("%+v", h.points)
	}
	if late := h.after(h.points[2].Time); len(late) != 1 {
		t.Errorf("%+v", late)
	}
}

func TestNumber(t *testing.T) {
	for x, want := range map[float64]string{1.5: "1.5", math.Inf(1): "null", math.NaN(): "null"} {
		b, err := json.Marshal(map[string]Number{"x": Number(x)})
		if err != nil || string(b) != `{"x":`+want+`}` {
			t.Errorf("%v is %s, %v", x, b, err)
		}
		var back map[string]Number
		if err := json.Unmarshal(b, &back); err != nil || want == "null" && !math.IsNaN(float64(back["x"])) {
			t.Errorf("%s is %v, %v", b, back, err)
		}
	}
}

func TestObserveBounds(t *testing.T) {
	g := &Group{tally: newTally()}
	for i := range 2 * maxObserved {
		g.Observe(fmt.Sprint(i), 1)
	}
	g.Observe("3", 2)
	if n := len(g.tally.observed); n != maxObserved || g.tally.observed["3"] != 2 {
		t.Errorf("%d names, %v", n, g.tally.observed)
	}
}

// A name that is no text does not end the run when Prometheus asks.
func TestObserveNoText(t *testing.T) {
	g := &Group{tally: newTally()}
	g.Observe("loss of \xff", 1)
	h := metrics.Handler(func() (metrics.Reading, bool) {
		return metrics.Reading{ID: "p0", Observed: g.tally.observed}, true
	})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if want := "ringrun_observed{name=\"loss of \uFFFD\"} 1"; !strings.Contains(w.Body.String(), want) {
		t.Errorf("no %s in\n%s", want, w.Body)
	}
}

// BenchmarkTally is what watching costs a step while nobody asks.
func BenchmarkTally(b *testing.B) {
	g := &Group{tally: newTally()}
	for i := 0; b.Loop(); i++ {
		g.tally.committed(uint64(i), 128)
		g.Observe("loss", 1)
	}
}
