package membership

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestScripts runs the stories in testdata/agreement on a perfect network. A
// file has commands, a line of dashes, and what must come of them:
//
//	prefer a           the half with a goes on, when a group is cut in two
//	group a b c        these are in view 1; those whose names begin with w are witnesses
//	found a expect 3   founds a group that waits for three
//	join d             asks to be let in
//	kill a             dies; its port refuses
//	stop b, cont b     SIGSTOP, SIGCONT
//	cut a b | c d      nothing passes between the sides; others reach both
//	heal               all is connected, and nothing is held
//	hold a b           what a sends to b is on its way for long …
//	release a b        … and arrives now, so far
//	renew a            says that its view is of no more use
//	leave c            wants to go
//	finish a b         have seen all of their view do the last step, and go
//	tick 20            time passes, 25 ms each
//	settle             time passes until nothing happens any more
//
// A peer that finds the ring of its view broken renews it by itself: at once when
// somebody is dead, after a second when somebody is silent.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/agreement/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			script, want := readScript(t, file)
			got, failures := runScript(t, script, plant{})
			for _, f := range failures {
				t.Error(f)
			}
			if *update {
				if err := os.WriteFile(file, []byte(script+dashes+got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("%s:\n%s\ngot:\n%s\nwant:\n%s", file, script, got, want)
			}
		})
	}
}

// TestPlantedScripts breaks the protocol so that a script goes wrong.
func TestPlantedScripts(t *testing.T) {
	for _, tt := range []struct {
		script string
		plant  plant
	}{
		{"minority_of_the_living", plant{name: "majority of those not proven dead", quorum: majorityOfLiving}},
		{"newcomer_outlives_majority", plant{name: "all that are not proven dead, however few", quorum: allLiving}},
		{"newcomer_outlives_majority", plant{name: "last stand of those who were cut off", ready: func(a *agreement) { a.cutOff = false }}},
		{"last_stand_late_word", plant{name: "decisions believed against promises", step: func(a *agreement, m *message) {
			if m.Kind == kindDecided {
				m.Ballot = a.promised
			}
		}}},
		{"half_silent", plant{name: "silence is proof of death", liar: true}},
		{"prefer_half", plant{name: "either half is enough", quorum: func(v View, dead, have ids) bool {
			members, _, _ := count(v, dead, have)
			return quorum(v, dead, have) || 2*members == len(v.members())
		}}},
		{"preferred_dies", plant{name: "half may go on when the preferred one is dead", quorum: func(v View, dead, have ids) bool {
			_, survivors, missing := count(v, dead, have)
			return quorum(v, dead, have) || missing == 0 && 2*survivors == len(v.members())
		}}},
		{"witness", plant{name: "witnesses do not vote", quorum: func(v View, dead, have ids) bool {
			v.Witnesses = nil
			return quorum(v, dead, have)
		}}},
		{"quarantine", plant{name: "no quarantine", ready: func(a *agreement) { a.shutTill = 0 }, step: func(_ *agreement, m *message) {
			if m.View != nil {
				m.View.Quarantine = 0
			}
		}}},
	} {
		t.Run(tt.script+"/"+tt.plant.name, func(t *testing.T) {
			script, want := readScript(t, filepath.Join("testdata/agreement", tt.script+".txt"))
			got, failures := runScript(t, script, tt.plant)
			if got == want {
				t.Errorf("not found; the script came to:\n%s", got)
			}
			t.Logf("found: %v\n%s", failures, got)
		})
	}
}

const dashes = "----\n"

func readScript(t testing.TB, file string) (script, want string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	script, want, _ = strings.Cut(string(b), dashes)
	return script, want
}

// runScript returns what the peers say, and what must never happen but did.
func runScript(t testing.TB, script string, p plant) (out string, failures []string) {
	t.Helper()
	var b strings.Builder
	w := newWorld(nil)
	w.plant = p
	w.saw = func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	w.fail = func(format string, args ...any) { failures = append(failures, fmt.Sprintf(format, args...)) }
	for i, line := range strings.Split(script, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if f := strings.Fields(line); len(f) > 0 {
			if err := w.command(f[0], f[1:]); err != nil {
				t.Fatalf("line %d, %q: %v", i+1, line, err)
			}
		}
	}
	return b.String(), failures
}

// command runs one line of a script.
func (w *world) command(name string, args []string) error {
	switch name {
	case "group":
		w.group(args...)
	case "tick":
		n, err := strconv.Atoi(strings.Join(args, " "))
		for range n {
			w.step()
		}
		return err
	case "settle":
		w.settle()
	case "heal":
		w.heal()
	case "cut":
		return w.cutSides(args)
	case "prefer":
		w.prefer = strings.Join(args, " ")
	case "limit":
		n, err := strconv.Atoi(strings.Join(args, " "))
		w.limit = n
		return err
	case "join":
		for _, a := range args {
			w.join(a)
		}
	default:
		return w.one(name, args)
	}
	return nil
}

// one runs a command about one or two peers.
func (w *world) one(name string, args []string) error {
	if name == "found" {
		var who string
		var n int
		if _, err := fmt.Sscanf(strings.Join(args, " "), "%s expect %d", &who, &n); err != nil {
			return err
		}
		w.flush(w.add(actorPeer(who), true, n))
		return nil
	}
	for _, a := range args {
		if w.peers[a] == nil {
			return fmt.Errorf("nobody is called %q", a)
		}
	}
	if len(args) == 2 && (name == "hold" || name == "release") {
		if name == "hold" {
			w.hold[way{args[0], args[1]}] = true
			w.peers[args[0]].troubled, w.peers[args[1]].troubled = true, true
		} else {
			w.release(args[0], args[1])
			w.deliver()
		}
		return nil
	}
	if name == "finish" {
		name = "leave"
		for _, a := range args {
			p := w.peers[a].a
			p.finish(End{Group: p.view.Group, Epoch: p.view.Epoch, Steps: 1})
		}
	}
	for _, a := range args {
		if err := w.about(name, w.peers[a]); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) about(name string, p *actor) error {
	switch name {
	case "kill":
		w.kill(p)
	case "stop":
		w.stop(p)
	case "cont":
		w.resume(p)
	case "renew":
		p.a.renew(p.a.view.Epoch)
		w.flush(p)
		w.deliver()
	case "leave":
		p.leaving = true
		p.a.leave()
		w.flush(p)
		w.deliver()
	default:
		return fmt.Errorf("no such command")
	}
	return nil
}

func (w *world) cutSides(args []string) error {
	left, right, ok := strings.Cut(strings.Join(args, " "), "|")
	if !ok {
		return fmt.Errorf("want: cut a b | c d")
	}
	for _, a := range strings.Fields(left) {
		for _, b := range strings.Fields(right) {
			if w.peers[a] == nil || w.peers[b] == nil {
				return fmt.Errorf("nobody is called %q or %q", a, b)
			}
			w.sever(a, b)
			w.sever(b, a)
		}
	}
	return nil
}

// settle waits until nobody has adopted a view for a while, and says who still
// wants another.
func (w *world) settle() {
	for quiet, said := 0, len(w.views); quiet < 200; quiet++ {
		w.step()
		if len(w.views) > said {
			quiet, said = 0, len(w.views)
		}
	}
	for _, p := range w.awake() {
		switch {
		case p.out:
		case p.a.view.Epoch == 0:
			w.saw("%s: waits to be let in", p.name)
		case p.a.wanted():
			w.saw("%s: pauses after %v", p.name, show(p.a.view))
		}
	}
}
