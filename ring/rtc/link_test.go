package rtc

import (
	"errors"
	"testing"
	"time"

	"github.com/ringrun/ringrun/ring"
)

// A peer that breaks the rules loses its link, and nothing worse happens.
func TestRulesBroken(t *testing.T) {
	header := ring.Header{Kind: ring.Data, Length: 10}.AppendTo(nil)
	for name, tt := range map[string]struct {
		msg  []byte
		text bool
		is   error
	}{
		"no frame":         {msg: []byte("hello"), is: ring.ErrFrame},
		"empty":            {msg: nil, is: ring.ErrFrame},
		"body too short":   {msg: append(header, 1, 2, 3), is: ring.ErrFrame},
		"body too long":    {msg: append(header, make([]byte, 11)...), is: ring.ErrFrame},
		"too long for all": {msg: make([]byte, messageBytes+1), is: ring.ErrFrame},
		"unknown control":  {msg: []byte("X"), text: true},
		"empty control":    {msg: nil, text: true},
		"false credit":     {msg: []byte{controlCredit, 1, 0, 0, 0}, text: true},
		"huge credit":      {msg: []byte{controlCredit, 255, 255, 255, 255}, text: true},
	} {
		t.Run(name, func(t *testing.T) {
			leakCheck(t)
			w := newWire()
			a, b := pair(t, w.peer(t, "a"), w.peer(t, "b"), 1, 0)
			if _, err := a.(*link).ch.WriteDataChannel(tt.msg, tt.text); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Next(); err == nil || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("Next: %v, want %v", err, tt.is)
			}
		})
	}
}

func TestBodyTooLarge(t *testing.T) {
	leakCheck(t)
	w := newWire()
	a, b := pair(t, w.peer(t, "a"), w.peer(t, "b"), 1, 0)
	if err := a.Send(ring.Header{Kind: ring.Data, Length: frameBytes + 1}, make([]byte, frameBytes+1)); err == nil {
		t.Error("a frame that is too large was sent")
	}
	send(t, a, 1, make([]byte, frameBytes))
	recv(t, b)
}

// Whatever a control message says, there is never more credit than at first.
func FuzzControl(f *testing.F) {
	f.Add([]byte{controlFin})
	f.Add([]byte{controlCredit, 1, 0, 0, 0})
	f.Add([]byte{controlCredit, 0, 0, 1, 0})
	f.Add([]byte{controlCredit, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, msg []byte) {
		l := &link{out: newWindow(nearFlight, func() uint64 { return 0 })}
		if err := l.out.take(100 << 10); err != nil {
			t.Fatal(err)
		}
		before := l.out.credit
		err := l.control(msg)
		if l.out.credit > creditBytes || l.out.credit < before {
			t.Errorf("%x: credit went from %d to %d", msg, before, l.out.credit)
		}
		if err != nil && l.out.credit != before {
			t.Errorf("%x: %v, and credit of %d", msg, err, l.out.credit-before)
		}
	})
}

// A sender that ignores its credit cannot fill the memory of the other side.
func TestCreditIgnored(t *testing.T) {
	leakCheck(t)
	w := newWire()
	a, b := pair(t, w.peer(t, "a"), w.peer(t, "b"), 1, 0)
	out := a.(*link).out
	out.mu.Lock()
	out.credit = 100 * creditBytes
	out.mu.Unlock()
	var body [frameBytes]byte
	for range creditBytes/frameBytes + 1 {
		send(t, a, 0, body[:])
	}
	select {
	case <-b.(*link).ended:
	case <-time.After(patience):
		t.Fatal("the other side took more than it gave credit for")
	}
	frames := 0
	for ; ; frames++ {
		if _, err := b.Next(); err != nil {
			break
		}
	}
	if want := creditBytes / (ring.HeaderBytes + frameBytes); frames != want {
		t.Errorf("%d frames were taken, there was credit for %d", frames, want)
	}
}

// ICE gives a connection up when nothing came for long; so does the link.
func TestConnectionLost(t *testing.T) {
	leakCheck(t)
	w := newWire()
	_, b := pair(t, w.peer(t, "a"), w.peer(t, "b"), 1, 0)
	close(b.(*link).conn.failed)
	if _, err := b.Next(); err == nil {
		t.Error("Next: no error")
	}
	if err := b.Send(ring.Header{Kind: ring.Data}, nil); err == nil {
		t.Error("Send: no error")
	}
}

// The connection of the other side goes without a word from its link.
func TestConnectionClosed(t *testing.T) {
	leakCheck(t)
	w := newWire()
	a, b := pair(t, w.peer(t, "a"), w.peer(t, "b"), 1, 0)
	start := time.Now()
	if err := a.(*link).conn.close(); err != nil {
		t.Error(err)
	}
	if _, err := b.Next(); err == nil {
		t.Error("Next: no error")
	}
	if d := time.Since(start); d > soon {
		t.Errorf("it took %v to be seen", d)
	}
	if _, err := a.Next(); err == nil {
		t.Error("Next on this side: no error")
	}
}

func TestFlightFor(t *testing.T) {
	for _, tt := range []struct {
		rtt  time.Duration
		want int
	}{
		{0, nearFlight},
		{time.Millisecond, nearFlight},
		{farRTT, nearFlight + farRate/200},
		{50 * time.Millisecond, nearFlight + farRate/20},
		{time.Second, farFlight},
		{time.Hour, farFlight},
	} {
		if got := flightFor(tt.rtt); got != tt.want {
			t.Errorf("flightFor(%v) = %d, want %d", tt.rtt, got, tt.want)
		}
	}
	if messageBytes > nearFlight/2 || messageBytes > creditBytes-returnBytes {
		t.Error("a message may wait for ever")
	}
}
