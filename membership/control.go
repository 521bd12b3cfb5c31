package membership

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// A controller answers those who know the secret but are no peers: a launcher,
// say, that asks how the run goes. They reach it at the peer's one port, say
// hello, and talk HTTP over TLS.
type controller struct {
	server *http.Server
	tls    *tls.Config
	conns  chan net.Conn
	addr   net.Addr
	quit   <-chan struct{}
}

const controlTimeout = 10 * time.Second // for the head of a request, and between two

func newController(cfg Config, addr net.Addr, quit <-chan struct{}) (*controller, error) {
	if cfg.Control == nil {
		return nil, nil
	}
	t, err := TLS(cfg.Secret, cfg.Run, cfg.ID)
	if err != nil {
		return nil, err
	}
	return &controller{
		server: &http.Server{
			Handler: cfg.Control, ReadHeaderTimeout: controlTimeout, IdleTimeout: controlTimeout,
			ErrorLog: zap.NewStdLog(cfg.Logger.Named("control")),
		},
		tls: t, conns: make(chan net.Conn), addr: addr, quit: quit,
	}, nil
}

// serve hands a stream to the server, and returns when it is closed.
func (c *controller) serve(s *stream) {
	defer s.Close()
	if c == nil {
		return
	}
	s.SetDeadline(time.Time{}) // the server sets its own
	select {
	case c.conns <- tls.Server(s, c.tls):
		<-s.done
	case <-c.quit:
	}
}

// Accept implements [net.Listener], for the server.
func (c *controller) Accept() (net.Conn, error) {
	select {
	case conn := <-c.conns:
		return conn, nil
	case <-c.quit:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener]; the transport's quit does all of it.
func (c *controller) Close() error { return nil }

// Addr implements [net.Listener].
func (c *controller) Addr() net.Addr { return c.addr }

// ControlClient returns a client for the Config.Control of the peers of a run.
// URLs have the form http://HOST:PORT/…, with the address of a peer. Errors name
// what is wrong with who answers there.
func ControlClient(secret []byte, run string) (*http.Client, error) {
	const id = "control"
	t, err := TLS(secret, run, id)
	if err != nil {
		return nil, err
	}
	door := newDoorman(Config{Run: run, ID: id, Secret: secret})
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		stop := afterFunc(ctx, func() { conn.Close() })
		_, err = door.knock(conn, helloControl)
		if !stop() {
			err = context.Cause(ctx)
		}
		if err != nil {
			conn.Close()
			return nil, err
		}
		return tls.Client(conn, t), nil
	}
	return &http.Client{Transport: &http.Transport{
		DialContext: dial, IdleConnTimeout: controlTimeout / 2, DisableCompression: true,
	}}, nil
}
