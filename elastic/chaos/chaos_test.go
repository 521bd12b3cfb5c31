package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	script := `
kill p2 at step 7   # whoever that is
stop p1 for 3s
join
join 2 at step 20 after 1s
drain p0 at step 30
cut {p0 p1} { p3 p6 } for 5s
slow p1 10ms for 5s after 200ms
wait 1.5s`
	want := []Fault{
		{Kind: Kill, Peer: 2, Step: 7, Line: 2},
		{Kind: Stop, Peer: 1, For: 3 * time.Second, Line: 3},
		{Kind: Join, Count: 1, Line: 4},
		{Kind: Join, Count: 2, Step: 20, After: time.Second, Line: 5},
		{Kind: Drain, Peer: 0, Step: 30, Line: 6},
		{Kind: Cut, Sides: [2][]int{{0, 1}, {3, 6}}, For: 5 * time.Second, Line: 7},
		{Kind: Slow, Peer: 1, Delay: 10 * time.Millisecond, For: 5 * time.Second, After: 200 * time.Millisecond, Line: 8},
		{Kind: Wait, For: 1500 * time.Millisecond, Line: 9},
	}
	got, err := Parse(script, 4)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, f := range want { // a fault reads as it was written
		again, err := Parse(f.String(), 7)
		if f.Line = 1; err != nil || len(again) != 1 || !reflect.DeepEqual(again[0], f) {
			t.Errorf("%q is read as %+v, %v; want %+v", f, again, err, f)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for script, want := range map[string]string{
		"explode p1":               `line 1, word 1: "explode", want kill, stop, join, drain, cut, slow or wait`,
		"join\nkill":               `line 2 ends where a peer, p0 to p4 is wanted`,
		"kill p4":                  `line 1, word 2: "p4", want a peer, p0 to p3`,
		"kill 1":                   `line 1, word 2: "1", want a peer, p0 to p3`,
		"stop p1":                  `line 1 ends where "for" is wanted`,
		"stop p1 for ever":         `line 1, word 4: "ever", want a time such as 500ms or 3s`,
		"stop p1 for -1s":          `line 1, word 4: "-1s", want a time such as 500ms or 3s`,
		"kill p1 at step":          `line 1 ends where the number of a step is wanted`,
		"kill p1 at 7":             `line 1, word 4: "7", want "step"`,
		"kill p1 now":              `line 1, word 3: "now", want "at step N", "after TIME" or the end of the line`,
		"cut {p0 p1} {p1} for 1s":  `line 1, word 7: "p1", want a peer that is not named before`,
		"cut {} {p1} for 1s":       `line 1, word 3: "}", want a peer, p0 to p3`,
		"cut {p0 p1 for 1s":        `line 1, word 5: "for", want a peer, p0 to p3`,
		"slow p1 for 1s":           `line 1, word 3: "for", want a time such as 500ms or 3s`,
		"\n# nothing\nslow p1 5ms": `line 3 ends where "for" is wanted`,
		"join none":                `line 1, word 2: "none", want a number of newcomers`,
	} {
		_, err := Parse(script, 4)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || err.Error() != want {
			t.Errorf("%q: %v; want %s", script, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("cut {p0 p1} {p2 p3} for 5s at step 3")
	f.Fuzz(func(t *testing.T, script string) {
		faults, err := Parse(script, 4)
		if err != nil {
			return
		}
		var lines []string
		for i := range faults {
			lines, faults[i].Line = append(lines, faults[i].String()), i+1
		}
		again, err := Parse(strings.Join(lines, "\n"), 4)
		if err != nil || len(again) > 0 && !reflect.DeepEqual(again, faults) {
			t.Errorf("%q becomes %q, which is read as %+v, %v", script, lines, again, err)
		}
	})
}

// A recorder is a stage on which nothing happens but notes.
type recorder struct {
	mu    sync.Mutex
	steps uint64
	notes []string
}

func (r *recorder) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

func (r *recorder) Await(_ context.Context, step uint64) error {
	r.note("step %d", step)
	return nil
}

func (r *recorder) Do(f Fault) (func() error, error) {
	r.note("%s", f.Kind)
	if f.For == 0 {
		return nil, errors.New("no")
	}
	return func() error { r.note("%s undone", f.Kind); return nil }, nil
}

func TestPlay(t *testing.T) {
	faults, err := Parse("kill p0 at step 3\nstop p1 for 50ms\nwait 100ms\ncut {p1} {p2} for 1h\njoin after 1ms", 3)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{}
	p := &Player{Stage: r, Say: func(format string, args ...any) { r.note("said: "+format, args...) }}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := p.Play(ctx, faults); err != nil {
		t.Error(err)
	}
	want := "step 3; said: kill p0 at step 3; kill; said: kill p0 at step 3: no; said: stop p1 for 50ms; stop; " +
		"said: over: stop p1 for 50ms; stop undone; said: cut {p1} {p2} for 1h0m0s; cut; said: join 1 after 1ms; join; " +
		"said: join 1 after 1ms: no; said: over: cut {p1} {p2} for 1h0m0s; cut undone"
	if got := strings.Join(r.notes, "; "); got != want {
		t.Errorf("what happens:\n%s\nwant:\n%s", got, want)
	}
}

// Whatever it invents, two peers who are neither dead nor stopped are left, nobody
// is killed around a cut, and the same seed invents the same.
func TestRandom(t *testing.T) {
	for seed := range uint64(50) {
		a, b := story(t, seed), story(t, seed)
		if !slices.Equal(a, b) {
			t.Fatalf("seed %d invents two stories:\n%q\n%q", seed, a, b)
		}
	}
}

func story(t *testing.T, seed uint64) (lines []string) {
	r := &Random{Rng: rand.New(rand.NewPCG(seed, 0))}
	now := time.Unix(0, 0)
	view, next := []int{0, 1, 2, 3}, 4
	stopped := map[int]time.Time{}
	var cutTill time.Time
	kinds := map[Kind]int{}
	for range 200 {
		f := r.Next(view, len(view), now)
		now = now.Add(f.After)
		lines = append(lines, f.String())
		kinds[f.Kind]++
		if _, err := Parse(f.String(), next); err != nil {
			t.Fatalf("seed %d invents %q: %v", seed, f, err)
		}
		if (f.Kind == Kill || f.Kind == Drain) && now.Before(cutTill) {
			t.Fatalf("seed %d: %s during a cut", seed, f)
		}
		switch f.Kind {
		case Kill, Drain:
			view = slices.DeleteFunc(view, func(p int) bool { return p == f.Peer })
		case Stop:
			stopped[f.Peer] = now.Add(f.For)
		case Join:
			view, next = append(view, next), next+1
		case Cut:
			cutTill = now.Add(f.For)
		case Wait:
			now = now.Add(f.For)
		}
		steady := 0
		for _, p := range view {
			if !now.Before(stopped[p]) {
				steady++
			}
		}
		if steady < 2 {
			t.Fatalf("seed %d: after %s only %d are left of %v", seed, f, steady, view)
		}
	}
	for _, k := range []Kind{Kill, Stop, Join, Drain, Cut, Slow} {
		if kinds[k] == 0 {
			t.Errorf("seed %d invents no %s", seed, k)
		}
	}
	return lines
}
