package elastic

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// compareAll lets the passes of a story be compared ten times a second, and
// returns what changes: "2.5s b true" when b is found slow.
func compareAll(p *pacer, ids []string, until time.Duration, passes func(at time.Duration) []time.Duration) []string {
	var told []string
	begin := time.Unix(1000, 0)
	for at := time.Duration(0); at <= until; at += 100 * time.Millisecond {
		_, changed := p.look(begin.Add(at), ids, passes(at))
		for _, i := range changed {
			told = append(told, fmt.Sprint(at, " ", ids[i], " ", p.peers[ids[i]].slow))
		}
	}
	return told
}

func TestSlowPeers(t *testing.T) {
	const ms = time.Millisecond
	three := []string{"a", "b", "c"}
	between := func(at, from, to time.Duration, then, otherwise time.Duration) time.Duration {
		if at >= from && at < to {
			return then
		}
		return otherwise
	}
	for _, tt := range []struct {
		name   string
		ids    []string
		passes func(at time.Duration) []time.Duration
		want   []string
	}{
		{"one is found once and recovers once", three, func(at time.Duration) []time.Duration {
			return []time.Duration{10 * ms, between(at, time.Second, 6*time.Second, 20*ms, 10*ms), 11 * ms}
		}, []string{"3s b true", "8s b false"}},
		{"not for a moment", three, func(at time.Duration) []time.Duration {
			return []time.Duration{10 * ms, between(at, time.Second, 2900*ms, 20*ms, 10*ms), 11 * ms}
		}, nil},
		{"not for a little", three, func(time.Duration) []time.Duration { return []time.Duration{10 * ms, 12 * ms, 13 * ms} }, nil},
		{"between the lines it stays what it was", three, func(at time.Duration) []time.Duration {
			return []time.Duration{10 * ms, between(at, 0, 4*time.Second, 20*ms, 12*ms), 10 * ms}
		}, []string{"2s b true"}},
		{"of two the slower one", []string{"a", "b"}, func(time.Duration) []time.Duration { return []time.Duration{20 * ms, 10 * ms} }, []string{"2s a true"}},
		{"who is alone is not slow", []string{"a"}, func(time.Duration) []time.Duration { return []time.Duration{20 * ms} }, nil},
		{"passes that take nothing", three, func(time.Duration) []time.Duration { return []time.Duration{ms / 100, ms / 10, ms / 100} }, nil},
		{"who has not said yet", three, func(time.Duration) []time.Duration { return []time.Duration{10 * ms, 0, 10 * ms} }, nil},
	} {
		if got := compareAll(&pacer{}, tt.ids, 10*time.Second, tt.passes); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Seldom exchanged notes are not enough of them after two seconds.
func TestSlowNeedsLooks(t *testing.T) {
	p, at := &pacer{}, time.Unix(1000, 0)
	for look := 1; look <= slowLooks; look++ {
		_, changed := p.look(at, []string{"a", "b"}, []time.Duration{time.Second, 3 * time.Second})
		if found := len(changed) > 0; found != (look == slowLooks) {
			t.Errorf("look %d: changed %v", look, changed)
		}
		at = at.Add(slowTime)
	}
}
