package membership

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// sayings has a message of each kind, as peers send them.
func sayings() []message {
	a, b := Peer{ID: "a", Addr: "10.0.0.1:7946", Meta: []byte{0, 1, 255}}, Peer{ID: "b", Addr: "[::1]:7946"}
	v := &View{Epoch: 3, Group: "a", Peers: []Peer{a, b}}
	from := func(m message) message {
		m.Group, m.From, m.Addr, m.To = "a", "a", a.Addr, "b"
		return m
	}
	return []message{
		{Kind: kindJoin, From: "b", Addr: b.Addr, Newcomers: []Peer{b}},
		from(message{Kind: kindLeave, Epoch: 3}),
		from(message{Kind: kindRenew, Epoch: 3, Ballot: ballot{1, 0}}),
		from(message{Kind: kindOver, Epoch: 3, Steps: 9}),
		from(message{Kind: kindPrepare, Epoch: 3, Ballot: ballot{2, 0}}),
		from(message{Kind: kindPromise, Epoch: 3, Ballot: ballot{2, 0}, Newcomers: []Peer{b}, Leaving: []string{"c"}}),
		from(message{Kind: kindPromise, Epoch: 3, Ballot: ballot{2, 0}, Accepted: ballot{1, 1}, View: v}),
		from(message{Kind: kindAccept, Epoch: 3, Ballot: ballot{lastRound, 0}, View: v}),
		from(message{Kind: kindAccepted, Epoch: 3, Ballot: ballot{2, 0}}),
		from(message{Kind: kindRefuse, Epoch: 3, Ballot: ballot{4, -1}}),
		from(message{Kind: kindDecided, Epoch: 3, Ballot: ballot{2, 0}, View: v}),
		from(message{Kind: kindAsk, Epoch: 3}),
		from(message{Kind: kindSignal, Data: []byte("offer")}),
	}
}

func TestMessageRoundTrip(t *testing.T) {
	for _, m := range sayings() {
		got, err := decode(m.encode())
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s comes back as %+v, %v; want %+v", m.Kind, got, err, m)
		}
	}
}

func TestMessageInvalid(t *testing.T) {
	a := Peer{ID: "a", Addr: "a:1"}
	view := func(epoch uint64, group string, peers ...Peer) *View {
		return &View{Epoch: epoch, Group: group, Peers: peers}
	}
	many := make([]Peer, maxPeers+1)
	for i := range many {
		many[i] = Peer{ID: fmt.Sprint(i), Addr: "a:1"}
	}
	long := strings.Repeat("x", maxName+1)
	for name, m := range map[string]message{
		"no kind":                {From: "a"},
		"unknown kind":           {Kind: "hello", From: "a"},
		"from nobody":            {Kind: kindRenew},
		"long name":              {Kind: kindRenew, From: long},
		"long address":           {Kind: kindRenew, From: "a", Addr: long},
		"no round above":         {Kind: kindPrepare, From: "a", Ballot: ballot{1<<64 - 1, 0}},
		"accept without view":    {Kind: kindAccept, From: "a", Epoch: 2},
		"decided without view":   {Kind: kindDecided, From: "a", Epoch: 2},
		"view without peers":     {Kind: kindDecided, From: "a", Epoch: 2, View: view(2, "g")},
		"view of epoch 0":        {Kind: kindDecided, From: "a", View: view(0, "g", a)},
		"view of another epoch":  {Kind: kindAccept, From: "a", Epoch: 3, View: view(2, "g", a)},
		"promise of old view":    {Kind: kindPromise, From: "a", Epoch: 3, View: view(2, "g", a)},
		"view without group":     {Kind: kindDecided, From: "a", Epoch: 2, View: view(2, "", a)},
		"view with a peer twice": {Kind: kindDecided, From: "a", Epoch: 2, View: view(2, "g", a, a)},
		"peer without name":      {Kind: kindDecided, From: "a", Epoch: 2, View: view(2, "g", Peer{Addr: "a:1"})},
		"peer without address":   {Kind: kindDecided, From: "a", Epoch: 2, View: view(2, "g", Peer{ID: "a"})},
		"peer with long name":    {Kind: kindDecided, From: "a", Epoch: 2, View: view(2, "g", Peer{ID: long, Addr: "a:1"})},
		"peer with long meta":    {Kind: kindJoin, From: "a", Newcomers: []Peer{{ID: "a", Addr: "a:1", Meta: make([]byte, maxMeta+1)}}},
		"too many peers":         {Kind: kindDecided, From: "a", Epoch: 2, View: view(2, "g", many...)},
		"too many newcomers":     {Kind: kindPromise, From: "a", Newcomers: many},
		"join of nobody":         {Kind: kindJoin, From: "a"},
		"join of another":        {Kind: kindJoin, From: "b", Newcomers: []Peer{a}},
		"join of two":            {Kind: kindJoin, From: "a", Newcomers: []Peer{a, {ID: "b", Addr: "b:1"}}},
	} {
		if _, err := decode(m.encode()); !errors.Is(err, errMessage) {
			t.Errorf("%s: error %v, want %v", name, err, errMessage)
		}
	}
}

func TestDecodeNotMessages(t *testing.T) {
	good := string(sayings()[1].encode())
	for name, b := range map[string]string{
		"nothing":       "",
		"noise":         "\x00\xff\x17",
		"cut short":     good[:len(good)-1],
		"two":           good + good,
		"unknown field": `{"kind":"renew","from":"a","addr":"a:1","colour":1}`,
		"wrong type":    `{"kind":"renew","from":7}`,
		"negative":      `{"kind":"renew","from":"a","addr":"a:1","epoch":-1}`,
		"too long":      good + strings.Repeat(" ", maxMessage),
	} {
		if _, err := decode([]byte(b)); !errors.Is(err, errMessage) {
			t.Errorf("%s: error %v, want %v", name, err, errMessage)
		}
	}
}

// FuzzDecode feeds the parser noise. What it takes must survive a round trip, and
// must not harm an agreement, from whomever it comes.
func FuzzDecode(f *testing.F) {
	for _, m := range sayings() {
		f.Add(m.encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decode(b)
		if err != nil {
			return
		}
		again, err := decode(m.encode())
		if err != nil || string(again.encode()) != string(m.encode()) {
			t.Fatalf("%+v comes back as %+v, %v", m, again, err)
		}
		v := View{Epoch: 2, Group: "a", Peers: peers("a b c")}
		a := newAgreement(v.Peers[1], false, "", 0, 0)
		a.adopt(v, ballot{})
		a.step(m)
		a.renew(2)
		for range 2 * (grace + patience) {
			a.tick()
			out, _, _ := a.ready()
			for _, o := range out {
				if _, err := decode(o.encode()); err != nil {
					t.Fatalf("after %+v it sends %+v: %v", m, o, err)
				}
			}
		}
		if !a.excluded && !a.view.has("b") {
			t.Fatalf("after %+v it is in %v", m, show(a.view))
		}
	})
}
