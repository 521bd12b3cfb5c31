package membership

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/zap"
)

// endOf waits until a node says that the run has ended.
func endOf(t *testing.T, ctx context.Context, n *Node) End {
	t.Helper()
	for epoch := uint64(0); ; {
		v, err := n.Next(ctx, epoch)
		var over *EndedError
		if errors.As(err, &over) {
			return over.End
		}
		if err != nil {
			t.Fatalf("%s: %v, want that the run has ended", n.ID(), err)
		}
		epoch = v.Epoch
	}
}

// c is cut off while a and b do the last step, and hears of it when the cut heals:
// it is in the view in which the run has ended. A newcomer hears it as well.
func TestFinishReachesWhoWasCutOff(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), ample)
	defer cancel()
	c := &cable{side: map[string]int{}}
	nodes := cutGroup(t, ctx, c, "", zap.NewNop().Core(), 0, 0, 1)
	c.set(true)
	end := End{Group: "a", Epoch: 2, Steps: 7}
	left := make(chan error, 2)
	for _, n := range nodes[:2] {
		n.Finish(end)
		go func() { left <- n.Leave(ctx) }()
	}
	if v, err := nodes[2].Next(expired(), 2); err == nil || errors.As(err, new(*EndedError)) {
		t.Errorf("c: %v, %v, though it is cut off", v, err)
	}
	c.set(false)
	if got := endOf(t, ctx, nodes[2]); got != end {
		t.Errorf("c: %+v, want %+v", got, end)
	}
	late, err := Start(ctx, Config{ID: "d", Run: "test", Secret: []byte(testSecret), Join: []string{nodes[0].Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	if got := endOf(t, ctx, late); got != end {
		t.Errorf("d: %+v, want %+v", got, end)
	}
	nodes[2].Finish(end)
	_ = nodes[2].Leave(ctx) // ends when all have left
	for range 2 {
		if err := <-left; err != nil {
			t.Error(err)
		}
	}
}

// A launcher's word reaches a peer that waits for the dead.
func TestTell(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), ample)
	defer cancel()
	nodes := cutGroup(t, ctx, &cable{side: map[string]int{}}, "", zap.NewNop().Core(), 0, 0)
	stranger := End{Group: "x", Epoch: 2, Steps: 7}
	nodes[1].Tell(stranger)
	if _, err := nodes[1].Next(expired(), 2); errors.As(err, new(*EndedError)) {
		t.Errorf("b believes the end of another group")
	}
	end := End{Group: "a", Epoch: 2, Steps: 7}
	nodes[1].Tell(end)
	if got := endOf(t, ctx, nodes[1]); got != end {
		t.Errorf("b: %+v, want %+v", got, end)
	}
}

// Who is left out and may live is missing, until it has come back under another ID.
func TestMissing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), ample)
	defer cancel()
	c := &cable{side: map[string]int{}}
	nodes := cutGroup(t, ctx, c, "", zap.NewNop().Core(), 0, 0, 1)
	c.set(true)
	nodes[0].Renew(2)
	if v, err := nodes[0].Next(ctx, 2); err != nil || len(v.Peers) != 2 {
		t.Fatalf("a: %v, %v; want a view of 2", v, err)
	}
	if all := nodes[0].Missing(); len(all) != 1 || all[0].ID != "c" {
		t.Errorf("missing: %v, want c", all)
	}
	c.set(false)
	if _, err := nodes[2].Next(ctx, 2); !errors.Is(err, ErrExcluded) {
		t.Fatalf("c: %v, want %v", err, ErrExcluded)
	}
	addr := nodes[2].Addr()
	nodes[2].Close()
	again, err := Start(ctx, Config{ID: "c-1", Run: "test", Secret: []byte(testSecret), Bind: addr, Join: nodes[2].Others()})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for len(nodes[0].Missing()) > 0 {
		if !sleep(ctx, tickTime) {
			t.Fatal("c is still missed, though it is back")
		}
	}
}
