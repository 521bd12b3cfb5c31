package lobby

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/ringrun/ringrun/ring"
)

const testMagic = "ringrun"

// A guest is a transport whose links are bare connections.
type guest struct {
	*Lobby
	cfg  Config
	goal string // whom it dials
}

// group opens p0, p1, …, which all dial p1. They are closed with the test.
func group(t testing.TB, n int, change func(i int, g *guest)) []*guest {
	t.Helper()
	var guests []*guest
	for i := range n {
		g := &guest{cfg: Config{
			Transport: "tcp",
			Magic:     testMagic,
			ID:        fmt.Sprintf("p%d", i),
			Run:       "test",
			Secret:    []byte("sixteen bytes or more"),
		}}
		if change != nil {
			change(i, g)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		g.Lobby = Open(g.cfg, ln)
		t.Cleanup(func() { g.Close() })
		guests = append(guests, g)
	}
	for _, g := range guests {
		if g.goal == "" {
			g.goal = guests[min(1, n-1)].Addr()
		}
	}
	return guests
}

func (g *guest) dial(ctx context.Context, e ring.Edge) (conn *Visitor, err error) {
	err = g.Dial(ctx, e, func(ctx context.Context) error {
		knock, cancel := context.WithTimeout(ctx, KnockTime)
		defer cancel()
		if conn, err = g.Knock(knock, "tcp", g.goal, e); err != nil {
			return err
		}
		good := Guard(ctx, conn)
		if _, err = ReadMessage(conn, Welcome, 0); err == nil {
			err = WriteMessage(conn, Going, nil)
		}
		return done(ctx, conn, good, err, func(err error) error { return g.Explain(err, g.goal) })
	})
	return conn, err
}

func (g *guest) accept(ctx context.Context, e ring.Edge) (conn *Visitor, err error) {
	err = g.Accept(ctx, e, func(ctx context.Context, c *Visitor) error {
		conn = c
		good := Guard(ctx, c)
		err := WriteMessage(c, Welcome, nil)
		if err == nil {
			_, err = ReadMessage(c, Going, 0)
		}
		return done(ctx, c, good, err, func(err error) error { return err })
	})
	return conn, err
}

func done(ctx context.Context, conn net.Conn, good func() bool, err error, explain func(error) error) error {
	if !good() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		return nil
	}
	conn.Close()
	return explain(err)
}

// connect opens a link from a to b, which is p1, and closes it with the test.
func connect(t testing.TB, a, b *guest, epoch uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	accepted := make(chan error, 1)
	go func() {
		conn, err := b.accept(ctx, ring.Edge{Self: b.cfg.ID, Peer: a.cfg.ID, Epoch: epoch})
		if err == nil {
			conn.Close()
		}
		accepted <- err
	}()
	conn, err := a.dial(ctx, ring.Edge{Self: a.cfg.ID, Peer: b.cfg.ID, Epoch: epoch})
	if err == nil {
		conn.Close()
	}
	if err2 := <-accepted; err != nil || err2 != nil {
		t.Fatalf("dial: %v, accept: %v", err, err2)
	}
}
