package web

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A cast is a group of peers that answer as real ones do.
type cast struct {
	t    testing.TB
	over atomic.Bool // the run has ended

	mu     sync.Mutex // guards all below
	actors []*actor
	epoch  uint64
	step   uint64
	began  time.Time
	points []point
	events []event
}

type actor struct {
	cast   *cast
	id     string
	server *httptest.Server
	addr   string
	phase  string
	stuck  time.Time        // since when it is in that phase
	slow   []map[string]any // who is
	ended  bool
	hangs  chan struct{} // while it is not nil nothing is answered
}

func newCast(t testing.TB, n int) *cast {
	c := &cast{t: t, epoch: 2, began: time.Now()}
	for range n {
		c.enter()
	}
	c.tell(event{Kind: "view", Epoch: 1, Peers: c.ids()[:1]})
	c.tell(event{Kind: "view", Epoch: 2, Was: c.ids()[:1], Peers: c.ids(), Joined: c.ids()[1:]})
	return c
}

// enter adds a peer.
func (c *cast) enter() {
	i := len(c.actors)
	a := &actor{cast: c, id: fmt.Sprintf("p%d-%02x", i, 17*i), phase: "reducing"}
	a.server = httptest.NewServer(a)
	a.addr = a.server.Listener.Addr().String()
	c.t.Cleanup(a.server.Close)
	c.actors = append(c.actors, a)
}

func (c *cast) ids() []string {
	var ids []string
	for _, a := range c.actors {
		ids = append(ids, a.id)
	}
	return ids
}

func (c *cast) tell(e event) {
	e.Number, e.Time = uint64(len(c.events)+1), time.Now().UnixMilli()
	c.events = append(c.events, e)
}

// join adds a peer to the view.
func (c *cast) join() {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.ids()
	c.enter()
	c.epoch++
	c.tell(event{Kind: "view", Epoch: c.epoch, Was: was, Peers: c.ids(), Joined: c.ids()[len(was):]})
}

// leave takes a peer out of the view: it was lost, or has left.
func (c *cast) leave(i int, left bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.ids()
	gone := c.actors[i]
	c.actors = slices.Delete(c.actors, i, i+1)
	c.epoch++
	e := event{Kind: "view", Epoch: c.epoch, Was: was, Peers: c.ids(), Lost: []string{gone.id}}
	if left {
		e.Lost, e.Left = nil, e.Lost
	}
	c.tell(e)
}

func (a *actor) kill() {
	a.server.CloseClientConnections()
	a.server.Close()
}

// ServeHTTP is what a peer's control answers.
func (a *actor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := a.cast
	c.mu.Lock()
	hangs := a.hangs
	c.mu.Unlock()
	if hangs != nil {
		<-hangs
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	up := time.Since(c.began).Seconds()
	rank := slices.Index(c.actors, a)
	in := 0.01
	if !a.stuck.IsZero() {
		in = time.Since(a.stuck).Seconds()
	}
	var peers []member
	for _, b := range c.actors {
		peers = append(peers, member{b.id, b.addr})
	}
	st := map[string]any{
		"id": a.id, "host": []string{"alpha", "beta"}[max(rank, 0)*2/max(len(c.actors), 1)%2], "epoch": c.epoch, "rank": rank, "peers": peers,
		"transport": "auto", "codec": "raw", "steps": c.step, "phase": a.phase, "in_phase": in, "uptime": up, "memory": 90_000_000,
		"sent": uint64(up * 5e6), "slow": a.slow, "why": "swapping",
		"spent": map[string]float64{"computing": up * (.55 + .02*float64(rank%7)), "reducing": up * .2, "applying": up * .08, "waiting": up * (.17 - .02*float64(rank%7))},
	}
	after := uint64(0)
	fmt.Sscan(r.FormValue("events"), &after)
	out := map[string]any{
		"now": time.Now().UnixMilli(), "ended": a.ended, "last": len(c.events), "status": st, "events": c.events[min(int(after), len(c.events)):],
	}
	if s := r.FormValue("points"); s != "" {
		ms := int64(0)
		fmt.Sscan(s, &ms)
		var points []point
		for _, p := range c.points {
			if p.Time > ms {
				points = append(points, p)
			}
		}
		out["points"] = points
	}
	_ = json.NewEncoder(w).Encode(out)
}

// serve shows the cast; token as in Config.
func (c *cast) serve(token string) (url string) {
	_, addr := c.serveFor(token, "127.0.0.1:0")
	return "http://" + addr
}

func (c *cast) serveAt(addr string) (*Server, string) { return c.serveFor("", addr) }

func (c *cast) serveFor(token, addr string) (*Server, string) {
	seed := c.actors[0].addr
	s := New(Config{Client: &http.Client{}, Seeds: func() []string { return []string{seed} }, Token: token, Over: c.over.Load})
	l, err := net.Listen("tcp", addr)
	if err != nil {
		c.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	c.t.Cleanup(func() {
		s.Close()
		if err := <-done; err != nil {
			c.t.Errorf("Serve: %v", err)
		}
	})
	return s, l.Addr().String()
}

// A viewer reads the stream of a page.
type viewer struct {
	t     testing.TB
	lines *bufio.Scanner
	last  snapshot
	all   []event
	graph []point
}

func look(t testing.TB, url string) *viewer {
	t.Helper()
	resp, err := http.Get(url + "/live")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || kind != "text/event-stream" {
		t.Fatalf("status %d, %q", resp.StatusCode, kind)
	}
	v := &viewer{t: t, lines: bufio.NewScanner(resp.Body)}
	v.lines.Buffer(nil, 1<<20)
	return v
}

// until reads until a snapshot is as it should be.
func (v *viewer) until(what string, ok func(s snapshot) bool) time.Duration {
	v.t.Helper()
	began := time.Now()
	for v.lines.Scan() {
		data, found := strings.CutPrefix(v.lines.Text(), "data: ")
		if !found {
			continue
		}
		v.last = snapshot{}
		if err := json.Unmarshal([]byte(data), &v.last); err != nil {
			v.t.Fatal(err)
		}
		v.all, v.graph = append(v.all, v.last.Events...), append(v.graph, v.last.Points...)
		if ok(v.last) {
			return time.Since(began)
		}
		if time.Since(began) > time.Minute {
			break
		}
	}
	v.t.Fatalf("never %s; last %+v", what, v.last)
	return 0
}

func states(s snapshot) string {
	var all []string
	for _, n := range s.Nodes {
		name, _, _ := strings.Cut(n.ID, "-")
		all = append(all, name+" "+n.State)
	}
	return strings.Join(all, ", ")
}

func (v *viewer) untilStates(want string) time.Duration {
	v.t.Helper()
	return v.until(want, func(s snapshot) bool { return states(s) == want })
}

var long = flag.Bool("long", false, "nothing else keeps this machine busy: hold the page to the time that it may take")

func within(t *testing.T, took, most time.Duration) {
	t.Helper()
	if *long && took > most {
		t.Errorf("drawn after %v, want at most %v", took, most)
	}
}

func TestPeerKilled(t *testing.T) {
	c := newCast(t, 3)
	v := look(t, c.serve(""))
	v.untilStates("p0 live, p1 live, p2 live")
	if v.last.Epoch != 2 || v.last.Answer != 3 || len(v.last.Nodes[1].Status) == 0 || v.last.Nodes[1].Rank != 1 {
		t.Errorf("%+v", v.last)
	}
	c.actors[1].kill()
	within(t, v.untilStates("p0 live, p1 silent, p2 live"), 2*time.Second)
	v.until("it is said why", func(s snapshot) bool { return s.Nodes[1].Why == "nobody listens at its address" })
	c.leave(1, false)
	v.untilStates("p0 live, p1 lost, p2 live")
	c.leave(1, true)
	v.untilStates("p0 live, p1 lost, p2 left")
	var told []string
	for _, e := range v.all {
		told = append(told, fmt.Sprintf("%s %d by %s", e.Kind, e.Epoch, e.Peer))
	}
	if len(told) != 4 { // although three peers told of each
		t.Errorf("events %q", told)
	}
}

// A peer that nobody has asked yet does not look like one that is silent: not when a
// page is opened, and not when it joins.
func TestNewcomers(t *testing.T) {
	c := newCast(t, 3)
	v := look(t, c.serve(""))
	quiet := func(s snapshot) bool {
		for _, n := range s.Nodes {
			if n.State == stateSilent && n.Why != errMute.Error() { // that may be, on a busy machine
				t.Errorf("view %d: %+v", s.Epoch, n)
			}
		}
		return len(s.Nodes) == 4
	}
	v.until("a snapshot", func(s snapshot) bool { quiet(s); return s.Epoch == 2 })
	c.join()
	v.until("the newcomer is there", quiet)
	v.untilStates("p0 live, p1 live, p2 live, p3 live")
}

// Who has not answered yet is silent when it should have.
func TestNew(t *testing.T) {
	now := time.Now()
	w := newWatcher(nil, nil)
	w.peers["a"] = &seen{since: now.Add(-lostAfter / 2)}
	w.peers["b"] = &seen{since: now.Add(-2 * lostAfter)}
	w.peers["c"] = &seen{since: now, why: errGone}
	w.view.Peers = []member{{"p0", "a"}, {"p1", "b"}, {"p2", "c"}, {"p3", "d"}}
	if shot := w.draw(now); states(*shot) != "p0 new, p1 silent, p2 silent, p3 new" || shot.Ended || len(shot.Blocking) > 0 {
		t.Errorf("%+v", shot)
	}
}

// The peer that was known first is no more special than the others.
func TestSeedKilled(t *testing.T) {
	c := newCast(t, 3)
	url := c.serve("")
	v := look(t, url)
	v.untilStates("p0 live, p1 live, p2 live")
	c.actors[0].kill()
	c.leave(0, false)
	v.untilStates("p0 lost, p1 live, p2 live")
	look(t, url).untilStates("p0 lost, p1 live, p2 live") // somebody who comes later sees the same
}

func TestPeerHangs(t *testing.T) {
	c := newCast(t, 2)
	v := look(t, c.serve(""))
	v.untilStates("p0 live, p1 live")
	hangs := make(chan struct{})
	c.mu.Lock()
	c.actors[1].hangs = hangs
	c.mu.Unlock()
	within(t, v.untilStates("p0 live, p1 silent"), 2500*time.Millisecond)
	c.mu.Lock()
	c.actors[1].hangs = nil
	c.mu.Unlock()
	close(hangs)
	v.untilStates("p0 live, p1 live")
}

func TestBlocking(t *testing.T) {
	c := newCast(t, 3)
	long := time.Now().Add(-2 * time.Second)
	for _, a := range c.actors {
		a.stuck = long
	}
	c.actors[2].phase = "computing"
	v := look(t, c.serve(""))
	v.until("who blocks is named", func(s snapshot) bool { return slices.Equal(s.Blocking, []string{c.actors[2].id}) })
}

func TestEnd(t *testing.T) {
	c := newCast(t, 2)
	v := look(t, c.serve(""))
	v.untilStates("p0 live, p1 live")
	c.mu.Lock()
	c.actors[0].ended = true
	c.mu.Unlock()
	v.untilStates("p0 ended, p1 live")
	for _, a := range c.actors {
		a.kill()
	}
	v.untilStates("p0 ended, p1 ended")
	if !v.last.Ended {
		t.Error("the run has not ended")
	}
}

// Pages that a worker serves learn that the run has ended before it does.
func TestEndOfServer(t *testing.T) {
	c := newCast(t, 2)
	s, addr := c.serveAt("127.0.0.1:0")
	v := look(t, "http://"+addr)
	v.untilStates("p0 live, p1 live")
	c.mu.Lock()
	c.step = 77 // of which nobody had asked yet
	c.mu.Unlock()
	c.over.Store(true)
	s.Close()
	v.until("the run has ended", func(s snapshot) bool { return s.Ended && states(s) == "p0 ended, p1 ended" })
	if st := string(v.last.Nodes[1].Status); !strings.Contains(st, `"steps":77,`) {
		t.Errorf("the last status is %s", st)
	}
}

// What all peers say of the same is told once, although they say it in other words.
func TestToldOnce(t *testing.T) {
	var l log
	for i, text := range []string{"p2 (computing, 1.1s)", "p2 (computing, 1.2s)"} {
		l.add(event{Number: uint64(i), Kind: "stalled", Step: 5, Peers: []string{"p2-00"}, Text: text}, fmt.Sprint("p", i), 0)
		l.add(event{Number: uint64(i), Kind: "checkpoint", Step: 100, Text: "saved/100"}, fmt.Sprint("p", i), 0)
	}
	l.add(event{Kind: "stalled", Step: 6, Peers: []string{"p2-00"}}, "p0", 0)
	var kinds []string
	for _, e := range l.after(0) {
		kinds = append(kinds, fmt.Sprint(e.Kind, e.Step, e.Peer))
	}
	slices.Sort(kinds)
	if want := []string{"checkpoint100p0", "checkpoint100p1", "stalled5p0", "stalled6p0"}; !slices.Equal(kinds, want) {
		t.Errorf("%q, want %q", kinds, want)
	}
}

// Points come from one peer at a time, and once.
func TestPoints(t *testing.T) {
	c := newCast(t, 2)
	loss := 0.5
	now := time.Now().UnixMilli()
	for i := range 10 {
		c.points = append(c.points, point{Time: now - int64(10-i)*1000, Step: uint64(i), Steps: 3, Samples: 96, Observed: map[string]*float64{"loss": &loss}})
	}
	v := look(t, c.serve(""))
	v.until("ten points", func(snapshot) bool { return len(v.graph) >= 10 })
	c.mu.Lock()
	c.points = append(c.points, point{Time: now, Step: 11})
	c.mu.Unlock()
	v.until("one more", func(snapshot) bool { return len(v.graph) >= 11 })
	if len(v.graph) != 11 || *v.graph[3].Observed["loss"] != 0.5 || v.graph[10].Step != 11 {
		t.Errorf("%d points: %+v", len(v.graph), v.graph)
	}
}

// Peers are left alone while nobody looks.
func TestNobodyLooks(t *testing.T) {
	c := newCast(t, 1)
	s := New(Config{Client: &http.Client{}, Seeds: func() []string { return []string{c.actors[0].addr} }})
	defer s.Close()
	s.watch.open()
	s.watch.open()
	s.watch.close()
	s.watch.close()
	s.watch.wait()
	s.watch.open()
	s.watch.close()
}

func get(t *testing.T, client *http.Client, url, host string) (int, http.Header) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode, resp.Header
}

// A foreign site that lets a name of its own lead to this machine gets nothing.
func TestHost(t *testing.T) {
	url := newCast(t, 1).serve("")
	for host, want := range map[string]int{
		"": 200, "localhost": 200, "localhost:99": 200, "127.0.0.1:1": 200, "[::1]:7464": 200, "10.1.2.3": 200,
		"evil.example": 403, "evil.example:7464": 403, "localhost.evil.example": 403, "127.0.0.1.evil.example:80": 403,
	} {
		for _, path := range []string{"/", "/app.js"} {
			if got, _ := get(t, http.DefaultClient, url+path, host); got != want {
				t.Errorf("%s at %q: status %d, want %d", path, host, got, want)
			}
		}
	}
	if got, _ := get(t, http.DefaultClient, url+"/live", "evil.example"); got != 403 {
		t.Errorf("/live at evil.example: status %d", got)
	}
}

func TestToken(t *testing.T) {
	url := newCast(t, 1).serve("0123456789abcdef")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for path, want := range map[string]int{
		"/": 401, "/live": 401, "/app.js": 401, "/?token=": 401, "/?token=0123456789abcde": 401,
		"/?token=0123456789abcdef": 303, "/app.js?token=0123456789abcdef": 200,
	} {
		if got, _ := get(t, client, url+path, ""); got != want {
			t.Errorf("%s: status %d, want %d", path, got, want)
		}
	}
	_, h := get(t, client, url+"/?token=0123456789abcdef", "")
	cookie := h.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Strict", "ringrun-"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("cookie %q lacks %s", cookie, want)
		}
	}
	req, _ := http.NewRequest(http.MethodGet, url+"/style.css", nil)
	req.Header.Set("Cookie", strings.Split(cookie, ";")[0])
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("with the cookie: status %d", resp.StatusCode)
	}
}

func TestReadOnly(t *testing.T) {
	url := newCast(t, 1).serve("")
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
		for _, path := range []string{"/", "/live", "/drain", "/end", "/status"} {
			req, _ := http.NewRequest(method, url+path, nil)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode < 400 {
				t.Errorf("%s %s: status %d", method, path, resp.StatusCode)
			}
		}
	}
	for path, want := range map[string]int{"/drain": 404, "/end": 404, "/stacks": 404, "/page/index.html": 404, "/../go.mod": 404} {
		if got, _ := get(t, http.DefaultClient, url+path, ""); got != want {
			t.Errorf("%s: status %d, want %d", path, got, want)
		}
	}
	_, h := get(t, http.DefaultClient, url+"/", "")
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
		"Content-Type": "text/html", "Referrer-Policy": "no-referrer",
	} {
		if !strings.Contains(h.Get(name), want) {
			t.Errorf("%s is %q, want %q", name, h.Get(name), want)
		}
	}
	if csp := h.Get("Content-Security-Policy"); strings.Contains(csp, "unsafe") {
		t.Errorf("policy %q", csp)
	}
}

func TestManyPages(t *testing.T) {
	url := newCast(t, 1).serve("")
	for range maxStreams {
		look(t, url)
	}
	if got, _ := get(t, http.DefaultClient, url+"/live", ""); got != http.StatusServiceUnavailable {
		t.Errorf("status %d for one page too many", got)
	}
}
