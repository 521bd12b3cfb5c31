package ring

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestSpell: a spell takes its time, and ends in one of two ways.
func TestSpell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		called := make(chan time.Duration, 1)
		s := after(farewell, func() { called <- time.Since(begin) })
		<-s.over
		if d := time.Since(begin); d != farewell {
			t.Errorf("over after %v, want %v", d, farewell)
		}
		if d := <-called; d != farewell {
			t.Errorf("called after %v, want %v", d, farewell)
		}
		s.stop() // does no harm any more

		s = after(farewell, func() { called <- time.Since(begin) })
		time.Sleep(farewell - 1)
		s.stop()
		time.Sleep(time.Minute)
		select {
		case <-s.over:
			t.Error("a spell that was stopped is over")
		case <-called:
			t.Error("a spell that was stopped has called")
		default:
		}
	})
}

// TestSpellOfStopped: who was stopped for a minute finds that one tick has passed.
func TestSpellOfStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := after(farewell, nil)
		defer s.stop()
		s.timer.Reset(time.Minute) // the first tick is seen so late
		time.Sleep(time.Minute)
		woken := time.Now()
		<-s.over
		if d, want := time.Since(woken), farewell*(ticksPerSpell-1)/ticksPerSpell; d != want {
			t.Errorf("over %v after waking, want %v", d, want)
		}
	})
}

// TestTurnBeforeClock: the last frame is sent if there is a turn for it, however
// late that is.
func TestTurnBeforeClock(t *testing.T) {
	for range 100 {
		e := &end{turn: make(chan struct{}, 1)}
		over := make(chan struct{})
		close(over)
		if !e.take(over) {
			t.Fatal("nobody has the turn, and it was not taken")
		}
		if e.take(over) {
			t.Fatal("the turn was taken twice")
		}
	}
}
