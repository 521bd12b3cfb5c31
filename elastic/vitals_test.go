package elastic

import (
	"strings"
	"testing"
	"time"
)

// What the counters have counted in two seconds says what slows a peer down; of
// several causes the gravest counts.
func TestCause(t *testing.T) {
	const s = time.Second
	at := time.Unix(1000, 0)
	for _, tt := range []struct {
		name string
		then counters // 2 s after nothing was counted
		want reason
		text string
	}{
		{"waits for its disk", counters{faults: 1200, ran: s}, reason{paging, 600}, "waits for its disk: 600 page faults/s"},
		{"reads its program", counters{faults: 99, ran: s}, reason{}, "cause unknown"},
		{"has a limit", counters{throttled: s, ran: s}, reason{squeezed, 50}, "limit stops it 50% of the time"},
		{"is on a full machine", counters{stolen: 30, total: 200, ran: s}, reason{stolen, 15}, "the hypervisor takes 15%"},
		{"has company", counters{ran: 1500 * time.Millisecond, queued: s / 2}, reason{crowded, 25}, "other load: 25%"},
		{"has little company", counters{ran: 1900 * time.Millisecond, queued: s / 10}, reason{}, "cause unknown"},
		{"swaps, in company", counters{faults: 5000, ran: s, queued: s, throttled: s}, reason{paging, 2500}, "2500 page faults/s"},
		{"has a limit that is reported late", counters{throttled: 5 * s}, reason{squeezed, 100}, "100%"},
		{"sleeps", counters{}, reason{}, "cause unknown"},
	} {
		tt.then.at = at.Add(2 * s)
		got := since(counters{at: at}, tt.then)
		if got != tt.want || !strings.Contains(got.String(), tt.text) {
			t.Errorf("a peer that %s: %+v, %q; want %+v, %q", tt.name, got, got, tt.want, tt.text)
		}
	}
	if got := since(counters{at: at, faults: 9, stolen: 9, total: 9}, counters{at: at}); got != (reason{}) {
		t.Errorf("counters that begin anew: %+v", got)
	}
}

// A cause passes when what was counted is older than the looks that are kept.
func TestVitalsForget(t *testing.T) {
	now, faults := time.Unix(1000, 0), uint64(0)
	v := &vitals{read: func() counters { return counters{at: now, faults: faults} }}
	v.look()
	if got := v.reason(); got != (reason{}) {
		t.Errorf("after one look: %+v", got)
	}
	now, faults = now.Add(vitalsEvery), 1000
	v.look()
	if got := v.reason(); got != (reason{paging, 2000}) {
		t.Errorf("after 1000 faults in half a second: %+v", got)
	}
	for range vitalsKept - 1 {
		now = now.Add(vitalsEvery)
		v.look()
	}
	if got := v.reason(); got != (reason{}) || len(v.looks) != vitalsKept {
		t.Errorf("long after: %+v of %d looks", got, len(v.looks))
	}
}
