package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// decodeLines reads objects, and takes away and checks what all of them have.
func decodeLines(t *testing.T, text string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(text) {
		var o map[string]any
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatalf("%q is no object: %v", line, err)
		}
		ts, _ := o["ts"].(string)
		if _, err := time.Parse(time.RFC3339Nano, ts); err != nil || o["logger"] != "ringrun" {
			t.Errorf("%q: ts or logger is wrong", line)
		}
		delete(o, "ts")
		delete(o, "logger")
		all = append(all, o)
	}
	return all
}

func TestObjects(t *testing.T) {
	var out, err bytes.Buffer
	p := &printer{objects: newObjects(&out, &err)}
	p.line(2, false, []byte(`say "hi" `+"\x00\xff"))
	p.line(12, true, []byte(`{"level":"warn","step":3}`))
	p.line(0, true, []byte(`{"half`))
	p.line(0, false, nil)
	p.note("view %d", 3)
	if got := p.ends(p.ends(usagef("no PROG"))); got != exitStatus(2) { // by the second it has been said
		t.Errorf("a mistake on the command line: exit with %v", got)
	}
	if got := p.ends(errors.New("broken")); got != exitStatus(1) {
		t.Errorf("exit with %v", got)
	}
	info := func(worker float64, stream, key string, what any) map[string]any {
		return map[string]any{"level": "info", "msg": "output", "worker": worker, "stream": stream, key: what}
	}
	usage := map[string]any{"level": "error", "msg": "no PROG (ringrun -h explains)"}
	for _, tt := range []struct {
		name, text string
		want       []map[string]any
	}{
		{"stdout", out.String(), []map[string]any{info(2, "stdout", "line", "say \"hi\" \x00\ufffd"), info(0, "stdout", "line", "")}},
		{"stderr", err.String(), []map[string]any{
			info(12, "stderr", "entry", map[string]any{"level": "warn", "step": 3.0}), info(0, "stderr", "line", `{"half`),
			{"level": "info", "msg": "view 3"}, usage, {"level": "error", "msg": "broken"},
		}},
	} {
		if got := decodeLines(t, tt.text); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// With -log-format json nothing that a run writes is anything but an object: not
// what its workers print, not the error at the end.
func TestRunInObjects(t *testing.T) {
	for _, tt := range []struct {
		args   []string
		status int
		msg    string
		worker bool
	}{
		{[]string{"-n", "2", workerProg(t)}, 0, "view 2: 2 peers", true},
		{[]string{"-n", "1", "no-such-program"}, 1, "no-such-program", false},
	} {
		text := newStage(t).ringrun(append([]string{"-log-format", "json"}, tt.args...)...).ends(tt.status)
		said, line := false, false
		for _, o := range decodeLines(t, text) {
			msg, _ := o["msg"].(string)
			said = said || strings.Contains(msg, tt.msg)
			_, ok := o["line"].(string)
			line = line || ok && o["stream"] == "stdout"
		}
		if !said || line != tt.worker {
			t.Errorf("%v: %q %v, line of a worker %v:\n%s", tt.args, tt.msg, said, line, text)
		}
	}
}
