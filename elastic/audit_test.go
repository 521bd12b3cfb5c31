package elastic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A ledgerman collects the records of all peers, as a launcher does.
type ledgerman struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *ledgerman) hear(e event) {
	if e.Event != "audit" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = json.NewEncoder(&l.text).Encode(e.Record) // to memory
}

func (l *ledgerman) check(t *testing.T) AuditReport {
	t.Helper()
	a, err := CheckAudit(bytes.NewReader(l.text.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if t.Failed() || len(a.Problems) > 0 { // before what is wrong with it: who reads the end of a log finds that
		t.Logf("the audit:\n%s", l.text.String())
	}
	for _, p := range a.Problems {
		t.Error(p)
	}
	return a
}

// Whoever dies, the audit has every step once or several times alike: the peer that
// writes it dies before it has written a step that all have committed, then the next
// one; one comes, and one leaves.
func TestAudit(t *testing.T) {
	c := newCluster(t, someSamples)
	var l ledgerman
	c.audit = "one"
	var dead atomic.Bool
	came := make(chan uint64, 1) // the first view that p4 is in
	c.heard = func(p *peer, e event) {
		if p.id != "p0-0" || !dead.Load() {
			l.hear(e)
		}
		if e.Event == "view" && slices.Contains(e.Peers, "p4-0") {
			select {
			case came <- e.Epoch:
			default:
			}
		}
	}
	c.inside = func(p *peer, step uint64) {
		if p.id == "p0-0" && step == 5 {
			dead.Store(true)
			p.kill()
		}
	}
	var once sync.Once
	c.at = func(p *peer, s Shard) error {
		switch {
		case s.Step == 8 && p.id == "p1-0":
			p.kill()
			return errKilled
		case s.Step == 15 && p.id == "p2-0":
			once.Do(func() {
				c.start(4)
				select {
				case e := <-came:
					p.awaitChange(c.ctx, e)
				case <-c.ctx.Done():
				}
			})
		case s.Step == 30 && p.id == "p3-0":
			p.g.Drain()
		}
		return nil
	}
	for range 4 {
		c.start(4)
	}
	c.wait()
	a := l.check(t)
	c.check(c.peers[0], c.peers[1], c.peers[3])
	if a.Run != "p0-0" || a.First != 1 || a.Last != c.peers[2].steps || a.Walks != 3 || a.Compared < 3 {
		t.Errorf("the audit says %+v", a)
	}
}

// Each fault in an audit is found, and named.
func TestAuditFindsFaults(t *testing.T) {
	view := `{"kind":"view","run":"r","epoch":2,"step":0,"samples":{"Count":4,"Batch":2,"Shard":1},"peers":["a","b"]}`
	step := func(n, epoch, walk int, a, b string) string {
		return fmt.Sprintf(`{"kind":"step","run":"r","epoch":%d,"step":%d,"walk":%d,"took":[{"peer":"a","positions":[%s]},{"peer":"b","positions":[%s]}]}`, epoch, n, walk, a, b)
	}
	state := func(a, b string) string {
		return fmt.Sprintf(`{"kind":"state","run":"r","epoch":2,"step":2,"sums":{"a":%q,"b":%q}}`, a, b)
	}
	good := []string{view, step(1, 2, 0, "[0,0]", "[1,1]"), step(2, 2, 0, "[2,2]", "[3,3]"), state("x", "x"), step(3, 2, 1, "[0,0]", "[1,1]")}
	for _, tt := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"good", good, ""},
		{"twice alike", append(good, good[1]), ""},
		{"done again", append(good, step(1, 1, 0, "[0,0]", "[2,2]")), ""},
		{"in two ways", append(good, step(1, 2, 0, "[0,0]", "[2,2]")), "step 1 is recorded in two ways in view 2"},
		{"no step 2", []string{view, good[1], good[4]}, "steps 2 to 2 are not recorded"},
		{"lost", []string{view, good[1], step(2, 2, 0, "[2,2]", ""), good[4]}, "walk 0: 1 positions were not consumed, the first is 3"},
		{"twice", []string{view, good[1], step(2, 2, 0, "[2,2]", "[1,1]"), good[4]}, "walk 0: position 1 was consumed twice, in steps 1 and 2"},
		{"outside", []string{view, good[1], step(2, 2, 0, "[2,3]", "[4,4]"), good[4]}, "step 2 consumed position 4 of 4"},
		{"states", append(good, state("x", "y")), "after step 2 the states differed: a against b"},
		{"back", append(good, step(4, 2, 0, "[2,3]", "")), "step 4 goes back to walk 0, after walk 1"},
		{"another run", append(good, strings.Replace(step(4, 2, 1, "[2,3]", ""), `"r"`, `"s"`, 1)), "step 4 is of run s, those before are of r"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := CheckAudit(strings.NewReader(strings.Join(tt.lines, "\n")))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(a.Problems, "; "); !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("problems %q, want %q", got, tt.want)
			}
		})
	}
	for _, text := range []string{"", "{", view} {
		if _, err := CheckAudit(strings.NewReader(text)); err == nil {
			t.Errorf("no error for %q", text)
		}
	}
}

// A run that starts again from a checkpoint does the steps after that again.
func TestAuditOfRunThatWentBack(t *testing.T) {
	line := func(run string, step, from, to int) string {
		return fmt.Sprintf(`{"kind":"step","run":%q,"epoch":2,"step":%d,"took":[{"peer":"a","positions":[[%d,%d]]}]}`+"\n", run, step, from, to)
	}
	begin := func(run string, step int) string {
		return fmt.Sprintf(`{"kind":"view","run":%q,"epoch":1,"step":%d,"samples":{"Count":6}}`+"\n", run, step)
	}
	first := begin("r", 0) + line("r", 1, 0, 1) + line("r", 2, 2, 3)
	second := begin("s", 1) + line("s", 2, 2, 4) + line("s", 3, 5, 5)
	a, err := CheckAudit(io.MultiReader(strings.NewReader(first), strings.NewReader(second)))
	if err != nil || len(a.Problems) > 0 || a.Walks != 1 || a.Last != 3 {
		t.Errorf("%+v, %v", a, err)
	}
}
