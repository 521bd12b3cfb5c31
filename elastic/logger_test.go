package elastic

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/ringrun/ringrun/membership"
)

// A line of JSON says where its peer is at that moment: nowhere, in a group, in
// another view of it.
func TestLogFields(t *testing.T) {
	var out bytes.Buffer
	l, err := logger("", "json", zapcore.AddSync(&out))
	if err != nil {
		t.Fatal(err)
	}
	named := l.Named("membership").With(zap.String("who", "b")) // as a package keeps it
	g := &Group{meter: newMeter()}
	stay := func(rank int, epoch uint64, ids ...string) {
		v := membership.View{Epoch: epoch}
		for _, id := range ids {
			v.Peers = append(v.Peers, membership.Peer{ID: id})
		}
		g.where.id.Store(&ids[rank])
		g.where.gen.Store(&generation{view: v, rank: rank})
		g.meter.mu.Lock()
		g.meter.steps += 5
		g.meter.mu.Unlock()
	}
	for _, tt := range []struct {
		begin func()
		want  map[string]any
	}{
		{func() {}, map[string]any{}},
		{func() { place(l, g) }, map[string]any{"step": 0.0}},
		{func() { stay(1, 4, "p0", "p1") }, map[string]any{"step": 5.0, "peer": "p1", "rank": 1.0, "epoch": 4.0}},
		{func() { stay(0, 6, "p1") }, map[string]any{"step": 10.0, "peer": "p1", "rank": 0.0, "epoch": 6.0}},
	} {
		tt.begin()
		out.Reset()
		named.Info("below warn, which is the default")
		named.Warn("lost\n\"it\"", zap.Duration("waits", 1500*time.Millisecond))
		if n := strings.Count(out.String(), "\n"); n != 1 {
			t.Fatalf("%d lines: %s", n, &out)
		}
		var got map[string]any
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v", &out, err)
		}
		ts, _ := got["ts"].(string)
		if _, err := time.Parse(time.RFC3339Nano, ts); err != nil {
			t.Errorf("%s: %v", &out, err)
		}
		delete(got, "ts")
		for k, v := range map[string]any{"level": "warn", "logger": "membership", "msg": "lost\n\"it\"", "who": "b", "waits": 1.5} {
			tt.want[k] = v
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%v, want %v", got, tt.want)
		}
	}
}

func TestLogFormats(t *testing.T) {
	for _, tt := range []struct{ level, format, want string }{
		{"loud", "", "loud"}, {"", "xml", `RINGRUN_LOG_FORMAT is "xml", want console or json`}, {"info", "console", ""}, {"debug", "", ""},
	} {
		l, err := logger(tt.level, tt.format, zapcore.AddSync(&bytes.Buffer{}))
		if tt.want == "" && (err != nil || l == nil) || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%q, %q: %v, want %q", tt.level, tt.format, err, tt.want)
		}
	}
}
