package membership

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestParsePolicy(t *testing.T) {
	for s, want := range map[string]policy{
		"": {}, "pause": {}, "stop": {stop: true}, "prefer=p0": {prefer: "p0"},
	} {
		if got, err := parsePolicy(s); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", s, got, err, want)
		}
	}
	for _, s := range []string{"wait", "prefer", "prefer=", "stop=1", "prefer=a\nb"} {
		if got, err := parsePolicy(s); err == nil {
			t.Errorf("%q: %+v, want an error", s, got)
		}
	}
}

// A cable between groups of nodes that a test cuts.
type cable struct {
	mu   sync.Mutex
	side map[string]int // of an address; none: reaches all
	cut  bool
}

func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
}

func (c *cable) put(addr string, side int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.side[addr] = side
}

// end returns the Config.Reach of a node on one side.
func (c *cable) end(side int) func(string) bool {
	return func(addr string) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		at, known := c.side[addr]
		return !c.cut || !known || at == side
	}
}

// cutGroup starts nodes with a policy on the sides of a cable: a on side 0, and so
// on. The first founds.
func cutGroup(t *testing.T, ctx context.Context, c *cable, policy string, log zapcore.Core, sides ...int) []*Node {
	t.Helper()
	var nodes []*Node
	for i, side := range sides {
		cfg := Config{ID: string(rune('a' + i)), Run: "test", Secret: []byte(testSecret), OnPartition: policy, Reach: c.end(side), Logger: zap.New(log)}
		if i == 0 {
			cfg.Found, cfg.Expect = true, len(sides)
		} else {
			cfg.Join = []string{nodes[0].Addr()}
		}
		n, err := Start(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		c.put(n.Addr(), side)
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		if v, err := n.Next(ctx, 1); err != nil || len(v.Peers) != len(sides) {
			t.Fatalf("%s: view of %d peers, %v; want %d", n.ID(), len(v.Peers), err, len(sides))
		}
	}
	return nodes
}

// Two against two: all wait and say why, and go on together when the cut heals.
func TestHalvesPause(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), ample)
	defer cancel()
	core, logs := observer.New(zap.WarnLevel)
	c := &cable{side: map[string]int{}}
	nodes := cutGroup(t, ctx, c, "", core, 0, 0, 1, 1)
	c.set(true)
	for _, n := range nodes {
		n.Renew(2) // as when its ring breaks
	}
	for paused := 0; paused < len(nodes); {
		paused = logs.FilterMessageSnippet("no proof that they are dead: this peer waits").Len()
		if !sleep(ctx, tickTime) {
			t.Fatalf("%d of 4 say that they wait", paused)
		}
	}
	for _, n := range nodes {
		if v, err := n.Next(expired(), 2); err == nil {
			t.Errorf("%s goes on with %v", n.ID(), v)
		}
	}
	said := logs.FilterMessageSnippet("this peer waits").All()[0].Message
	for _, want := range []string{"no word since ", "2 of the 4 members of view 2", "(127.0.0.1:"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q does not say %q", said, want)
		}
	}
	c.set(false)
	for _, n := range nodes {
		if v, err := n.Next(ctx, 2); err != nil || len(v.Peers) != 4 || v.Epoch != 3 {
			t.Errorf("%s: view %d of %d peers, %v; want view 3 of all", n.ID(), v.Epoch, len(v.Peers), err)
		}
	}
}

func expired() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// Three against one, which stops by its policy; the others do not.
func TestMinorityStops(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), ample)
	defer cancel()
	c := &cable{side: map[string]int{}}
	nodes := cutGroup(t, ctx, c, "stop", zapcore.NewNopCore(), 0, 0, 0, 1)
	c.set(true)
	for _, n := range nodes {
		n.Renew(2)
	}
	for _, n := range nodes[:3] {
		if v, err := n.Next(ctx, 2); err != nil || len(v.Peers) != 3 {
			t.Errorf("%s: view of %d peers, %v; want 3", n.ID(), len(v.Peers), err)
		}
	}
	if v, err := nodes[3].Next(ctx, 2); !errors.Is(err, ErrPartitioned) || !strings.Contains(err.Error(), "3 of the 4 members") {
		t.Errorf("d: view %d, %v; want %v", v.Epoch, err, ErrPartitioned)
	}
}

// One against one, and the preferred one goes on; the other comes back.
func TestPreferredGoesOn(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), ample)
	defer cancel()
	c := &cable{side: map[string]int{}}
	nodes := cutGroup(t, ctx, c, "prefer=b", zapcore.NewNopCore(), 0, 1)
	c.set(true)
	nodes[0].Renew(2)
	nodes[1].Renew(2)
	if v, err := nodes[1].Next(ctx, 2); err != nil || len(v.Peers) != 1 {
		t.Fatalf("b: view of %d peers, %v; want b alone", len(v.Peers), err)
	}
	c.set(false)
	if _, err := nodes[0].Next(ctx, 2); !errors.Is(err, ErrExcluded) {
		t.Errorf("a: %v, want %v", err, ErrExcluded)
	}
	other := Config{ID: "c", Run: "test", Secret: []byte(testSecret), Join: []string{nodes[1].Addr()}, OnPartition: "prefer=a"}
	n, err := Start(ctx, other)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if _, err := n.Next(ctx, 0); err == nil || !strings.Contains(err.Error(), "its group prefers b") {
		t.Errorf("c, which prefers a: %v, want an error that says whom the group prefers", err)
	}
}

// With a witness one of two goes on, whoever is cut off. The witness ends when
// the peers have left.
func TestWitness(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), ample)
	defer cancel()
	c := &cable{side: map[string]int{}}
	nodes := cutGroup(t, ctx, c, "", zapcore.NewNopCore(), 0, 1)
	ended := make(chan error, 1)
	cfg := Config{ID: "w", Run: "test", Secret: []byte(testSecret), Join: []string{nodes[0].Addr()}, Reach: c.end(1)}
	go func() { ended <- Witness(ctx, cfg) }()
	v, err := nodes[1].Next(ctx, 2)
	if err != nil || len(v.Peers) != 2 || len(v.Witnesses) != 1 || v.Witnesses[0].ID != "w" {
		t.Fatalf("view %+v, %v; want a and b with the witness w", v, err)
	}
	c.put(v.Witnesses[0].Addr, 1)
	c.set(true)
	nodes[0].Renew(3)
	nodes[1].Renew(3)
	if v, err := nodes[1].Next(ctx, 3); err != nil || len(v.Peers) != 1 || len(v.Witnesses) != 1 {
		t.Fatalf("b: %+v, %v; want b and the witness", v, err)
	}
	c.set(false)
	if _, err := nodes[0].Next(ctx, 3); !errors.Is(err, ErrExcluded) {
		t.Errorf("a: %v, want %v", err, ErrExcluded)
	}
	if err := nodes[1].Leave(ctx); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the witness ends with %v", err)
	}
}
