package rtc

import (
	"context"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// sdp returns the description of a real offer.
func sdp(t testing.TB) string {
	t.Helper()
	tr := newWire().peer(t, "a")
	c, err := tr.newConn()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	s, err := c.offer(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMessage(t *testing.T) {
	e := edge{From: "a", To: "b", Epoch: 1<<64 - 1, Lane: maxLane - 1}
	for _, m := range []message{
		{Kind: kindOffer, Session: newSession(), edge: e, SDP: "v=0"},
		{Kind: kindAnswer, Session: newSession(), edge: e, SDP: "v=0\r\n\"\x00"},
		{Kind: kindEnd, Session: newSession(), edge: e, Reason: "because"},
	} {
		got, err := parseMessage(m.encode())
		m.Version = version
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("got %+v, %v; want %+v", got, err, m)
		}
	}
}

// A reason that is too long is cut, not in the middle of a letter.
func TestLongReason(t *testing.T) {
	m := message{Kind: kindEnd, Session: newSession(), edge: edge{From: "a", To: "b"}, Reason: "-" + strings.Repeat("ö", maxReason)}
	got, err := parseMessage(m.encode())
	if err != nil || got.Reason != m.Reason[:maxReason-1] {
		t.Errorf("got a reason of %d bytes, %v; want %d", len(got.Reason), err, maxReason-1)
	}
}

func TestMessageRefused(t *testing.T) {
	good := message{Version: version, Kind: kindOffer, Session: newSession(), edge: edge{From: "a", To: "b", Epoch: 1}, SDP: "v=0"}
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*message){
		"version":       func(m *message) { m.Version++ },
		"kind":          func(m *message) { m.Kind = "bid" },
		"short session": func(m *message) { m.Session = m.Session[2:] },
		"session":       func(m *message) { m.Session = strings.Repeat("x", 2*sessionBytes) },
		"no dialler":    func(m *message) { m.From = "" },
		"long acceptor": func(m *message) { m.To = strings.Repeat("b", maxID+1) },
		"to itself":     func(m *message) { m.To = m.From },
		"lane":          func(m *message) { m.Lane = maxLane },
		"lane below 0":  func(m *message) { m.Lane = -1 },
		"no SDP":        func(m *message) { m.SDP = "" },
		"reason":        func(m *message) { m.Reason = "none" },
		"end with SDP":  func(m *message) { m.Kind = kindEnd },
		"long reason":   func(m *message) { m.Kind, m.SDP, m.Reason = kindEnd, "", strings.Repeat("r", maxReason+1) },
	} {
		m := good
		spoil(&m)
		if err := m.check(); err == nil {
			t.Errorf("%s: %+v passed", name, m)
		}
	}
	for _, b := range []string{"", "{", "[]", "null", `"x"`, string(good.encode()) + "{}", `{"v":1,"other":2}`, strings.Repeat(" ", maxSignal+1)} {
		if _, err := parseMessage([]byte(b)); !errors.Is(err, errMessage) {
			t.Errorf("%.40q: %v, want errMessage", b, err)
		}
	}
}

func TestDescriptionRefused(t *testing.T) {
	good := sdp(t)
	m := message{Kind: kindOffer, SDP: good}
	if _, err := parseDescription(m); err != nil {
		t.Fatal(err)
	}
	line := func(prefix string) string {
		i := strings.Index(good, prefix)
		return good[i : i+strings.Index(good[i:], "\r\n")+2]
	}
	fingerprint, candidate := line("a=fingerprint:"), line("a=candidate:")
	media := good[strings.Index(good, "m=application"):]
	for name, bad := range map[string]string{
		"not SDP":             "hello",
		"no media":            strings.TrimSuffix(good, media),
		"two media":           good + media,
		"video":               strings.Replace(good, "m=application", "m=video", 1),
		"no fingerprint":      strings.ReplaceAll(good, fingerprint, ""),
		"two fingerprints":    strings.Replace(good, fingerprint, fingerprint+fingerprint, 1),
		"weak hash":           strings.Replace(good, "sha-256", "sha-1", 1),
		"short fingerprint":   strings.Replace(good, fingerprint, fingerprint[:len(fingerprint)-5]+"\r\n", 1),
		"no candidates":       removeLines(good, "a=candidate:"),
		"too many candidates": strings.Replace(good, candidate, strings.Repeat(candidate, maxCandidates+1), 1),
	} {
		if bad == good {
			t.Errorf("%s: nothing was changed in %q", name, good)
		}
		if _, err := parseDescription(message{Kind: kindOffer, SDP: bad}); err == nil {
			t.Errorf("%s: passed", name)
		}
	}
}

func removeLines(s, prefix string) string {
	var kept []string
	for _, l := range strings.SplitAfter(s, "\n") {
		if !strings.HasPrefix(l, prefix) {
			kept = append(kept, l)
		}
	}
	return strings.Join(kept, "")
}

func FuzzMessage(f *testing.F) {
	s := sdp(f)
	e := edge{From: "a", To: "b", Epoch: 7, Lane: 2}
	for _, m := range []message{
		{Kind: kindOffer, Session: newSession(), edge: e, SDP: s},
		{Kind: kindAnswer, Session: newSession(), edge: e, SDP: s},
		{Kind: kindEnd, Session: newSession(), edge: e, Reason: "epoch is over here"},
	} {
		f.Add(m.encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b)
		if err != nil {
			if !errors.Is(err, errMessage) {
				t.Errorf("%v is not errMessage", err)
			}
			return
		}
		again, err := parseMessage(m.encode())
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Errorf("got %+v, %v; want %+v", again, err, m)
		}
	})
}

func FuzzDescription(f *testing.F) {
	f.Add(sdp(f))
	f.Fuzz(func(t *testing.T, sdp string) {
		d, err := parseDescription(message{Kind: kindOffer, SDP: sdp})
		if err != nil {
			return
		}
		digits := strings.ToLower(strings.ReplaceAll(sdp, ":", ""))
		if want := hex.EncodeToString(d.fingerprint[:]); !strings.Contains(digits, want) {
			t.Errorf("fingerprint %s is not in %q", want, sdp)
		}
	})
}
