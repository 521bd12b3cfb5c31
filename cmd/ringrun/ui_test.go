package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringrun/ringrun/elastic"
	"github.com/ringrun/ringrun/elastic/web/webtest"
	"github.com/ringrun/ringrun/membership"
)

func TestParseListen(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "7464": "127.0.0.1:7464", ":7464": "127.0.0.1:7464", "0.0.0.0:80": "0.0.0.0:80", "[::1]:9": "[::1]:9", "gpu1:9400": "gpu1:9400",
	} {
		if got, err := parseListen(s); got != want || err != nil {
			t.Errorf("parseListen(%q) = %q, %v; want %q", s, got, err, want)
		}
	}
	for _, s := range []string{"host", "0", ":0", "host:0", "host:http", "1:2:3", "70000", "-1"} {
		if got, err := parseListen(s); err == nil {
			t.Errorf("parseListen(%q) = %q; want an error", s, got)
		}
	}
}

// fetch asks until somebody answers.
func fetch(t *testing.T, url string) string {
	t.Helper()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) { // for whom should answer, there is no event
		resp, err := http.Get(url)
		if err == nil {
			b, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil && resp.StatusCode == http.StatusOK {
				return string(b)
			}
			t.Fatalf("%s: %s, %v: %s", url, resp.Status, err, b)
		}
		if time.Since(began) > patience {
			t.Fatal(err)
		}
	}
}

// pids returns the processes of the peers, by the beginnings of their IDs.
func (s *stage) pids() map[string]int {
	s.t.Helper()
	text := s.ringrun("status", "-json").ends(0)
	pids := map[string]int{}
	for d := json.NewDecoder(strings.NewReader(text)); d.More(); {
		var st elastic.Status
		if err := d.Decode(&st); err != nil {
			s.t.Fatalf("%v in %s", err, text)
		}
		name, _, _ := strings.Cut(st.ID, "-")
		pids[name] = st.PID
	}
	return pids
}

func (s *stage) kill(pid int) {
	s.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
}

// A worker serves the page, and another one when that is killed; each has metrics.
func TestWorkersServe(t *testing.T) {
	s := newStage(t)
	first := webtest.FreePorts(t, 4)
	ui := first + 3
	l := s.ringrun("-n", "3", "-ui", strconv.Itoa(ui), "-metrics", strconv.Itoa(first), "-restart", "1", trainerProg(t))
	url := l.until(1, `^ringrun: see (http://127.0.0.1:\d+/)$`)[0][1]
	l.until(3, `^\[\d\] step 11$`)
	if page := fetch(t, url); !strings.Contains(page, "<title>ringrun</title>") {
		t.Errorf("the page is\n%s", page)
	}
	for i := range 3 {
		text := fetch(t, fmt.Sprintf("http://127.0.0.1:%d/metrics", first+i))
		for _, want := range []string{"ringrun_view_peers 3\n", fmt.Sprintf(`ringrun_peer_info{codec="raw",id="p%d-`, i), `ringrun_observed{name="loss"} 0.`} {
			if !strings.Contains(text, "\n"+want) {
				t.Errorf("worker %d has no line %s in\n%s", i, want, text)
			}
		}
	}
	pids := s.pids()
	for i := range 2 { // the first has served
		s.kill(pids[fmt.Sprintf("p%d", i)])
		heir := l.until(1, fmt.Sprintf(`^ringrun: worker %d .*: starts again in \S+ as worker (\d)`, i))[0][1]
		fetch(t, url)
		l.until(1, `^\[`+heir+`\] step`)
		if text := fetch(t, fmt.Sprintf("http://127.0.0.1:%d/metrics", first+i)); !strings.Contains(text, `id="p`+heir+`-`) {
			t.Errorf("worker %s does not tell its metrics:\n%s", heir, text)
		}
	}
	l.signal(syscall.SIGTERM)
	l.ends(128 + int(syscall.SIGTERM))
	if text, _ := l.output(); strings.Count(text, "see http") != 1 {
		t.Errorf("where the page is was not said once:\n%s", text)
	}
}

// The page of ringrun ui shows a real run, in a real browser: a peer that is
// killed is drawn within 2 s, though it was the one that was asked first.
func TestUI(t *testing.T) {
	s := newStage(t)
	s.ringrun("ui", "-listen", "nowhere").ends(2, `^ringrun: -listen nowhere: want a port, or host:port`)
	l := s.ringrun("-n", "4", "-restart", "never", trainerProg(t))
	addr := l.until(1, `^ringrun: listening; one more peer: ringrun -join (\S+) `)[0][1]
	l.until(4, `^\[\d\] step 11$`)
	ui := s.ringrun("ui", "-listen", strconv.Itoa(webtest.FreePorts(t, 1)), addr)
	url := ui.until(1, `^ringrun: see (http://127.0.0.1:\d+/)$`)[0][1]
	fetch(t, url)
	pids := s.pids()

	b := webtest.Open(t)
	b.Go(url)
	live := `document.querySelectorAll('#ring g.node[data-state=live]').length`
	b.Until(live + ` === 4`)
	b.Until(`document.querySelectorAll('#charts .chart').length === 3 && document.querySelector('.chart[data-name=loss]') !== null`)
	b.Until(`[...document.querySelectorAll('#charts path.line')].every(p => p.getAttribute('d').split('L').length >= 3)`)
	s.kill(pids["p0"])
	took := b.Until(`document.querySelector('#ring g[data-id^="p0-"]').dataset.state !== 'live'`)
	t.Logf("drawn after %v", took)
	within(t, took, 2*time.Second)
	b.Until(`document.querySelector('#ring g[data-id^="p0-"]').dataset.state === 'lost' && ` + live + ` === 3`)
	b.Until(`[...document.querySelectorAll('#events li.bad')].some(li => li.innerText.includes('3 peers (p0 was lost)'))`)
	points := `document.querySelector('.chart[data-name=loss] path.line').getAttribute('d').split('L').length`
	b.Until(`window.before = window.before || ` + points + `, ` + points + ` > window.before`) // another peer tells them now
	b.Shot("four-light")
	b.Scheme("dark")
	b.Shot("four-dark")

	l.signal(syscall.SIGTERM)
	l.ends(128 + int(syscall.SIGTERM))
	b.Until(`document.querySelector('#ring .big').textContent === 'ended'`)
	b.Shot("ended")
	b.Go("about:blank") // before the server goes
	ui.signal(syscall.SIGINT)
	ui.ends(0)
}

// Who asks the peers of a run again and again can do so when the first is gone.
func TestAskOthers(t *testing.T) {
	s := newStage(t)
	file := filepath.Join(s.dir, "secret")
	if err := os.WriteFile(file, []byte("the secret of this test"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := s.ringrun("-n", "2", "-restart", "never", "-secret-file", file, trainerProg(t))
	addr := l.until(1, `^ringrun: listening; one more peer: ringrun -join (\S+) `)[0][1]
	l.until(2, `^\[\d\] step 1$`)
	cred, err := readSecretFile(file)
	if err != nil {
		t.Fatal(err)
	}
	client, err := membership.ControlClient(cred.secret, cred.run())
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	a := &asker{cred: cred, client: client, addr: addr}
	answers, err := a.all(t.Context())
	if err != nil || len(answers) != 2 {
		t.Fatalf("%d answers, %v", len(answers), err)
	}
	s.kill(answers[0].PID)
	l.until(1, `^ringrun: view 3: 1 peer \(p0 was lost\)$`)
	look := time.NewTicker(20 * time.Millisecond) // the peer tells of a view before it has its ring
	defer look.Stop()
	late := time.After(patience)
	for answers, err = a.all(t.Context()); err == nil && len(answers) == 2; answers, err = a.all(t.Context()) {
		select {
		case <-look.C:
		case <-late:
			t.Fatal("the dead peer is still among those who are asked")
		}
	}
	if err != nil || len(answers) != 1 || answers[0].Rank != 0 {
		t.Errorf("%d answers, %v", len(answers), err)
	}
	l.signal(syscall.SIGTERM)
	l.ends(128 + int(syscall.SIGTERM))
}
