package elastic

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/ringrun/ringrun/elastic/web"
	"github.com/ringrun/ringrun/membership"
	"go.uber.org/zap"
)

const (
	pageRetry   = 500 * time.Millisecond // for an address that another process has
	pageTimeout = 10 * time.Second       // for the head of a request, and an answer
)

// servePages answers those outside who watch the run: Prometheus at
// Config.Metrics, browsers at Config.UI.
func (g *Group) servePages(ctx context.Context, in *inspector) {
	var serving sync.WaitGroup
	defer serving.Wait()
	if addr := g.cfg.Metrics; addr != "" {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", in.metrics)
		serving.Go(func() {
			g.servePage(ctx, "metrics", addr, func(l net.Listener) error { return serveUntil(ctx, l, mux) })
		})
	}
	if addr := g.cfg.UI; addr != "" {
		serving.Go(func() { g.servePage(ctx, "page", addr, func(l net.Listener) error { return g.serveRun(ctx, l) }) })
	}
}

// servePage serves at an address as soon as it is free. So of the peers of a host
// that all have the same one answers, and the next when that is gone.
func (g *Group) servePage(ctx context.Context, what, addr string, serve func(net.Listener) error) {
	log := g.cfg.Logger.With(zap.String("for", what), zap.String("address", addr))
	told := false
	for {
		l, err := net.Listen("tcp", addr)
		switch {
		case err == nil:
			g.report.page(what, g.id(), g.pageURL(what, l.Addr()))
			if err = serve(l); err != nil && ctx.Err() == nil {
				log.Warn("cannot serve", zap.Error(err))
			}
		case !errors.Is(err, syscall.EADDRINUSE):
			log.Warn("cannot listen", zap.Error(err))
			return
		case !told:
			told = true
			log.Debug("somebody listens there already; this peer will when it is free")
		}
		select {
		case <-time.After(pageRetry):
		case <-ctx.Done():
			return
		}
	}
}

// pageURL is where a browser finds what is served at an address.
func (g *Group) pageURL(what string, at net.Addr) string {
	host, port, _ := net.SplitHostPort(at.String())
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host, _, _ = net.SplitHostPort(g.node().Addr())
	}
	url := "http://" + net.JoinHostPort(host, port) + "/"
	if what == "metrics" {
		return url + "metrics"
	}
	if token := g.pageToken(at); token != "" {
		url += "?token=" + token
	}
	return url
}

// pageToken is what a browser on another host must show: the same at all peers,
// and nothing that leads to the secret.
func (g *Group) pageToken(at net.Addr) string {
	if tcp, ok := at.(*net.TCPAddr); ok && tcp.IP.IsLoopback() {
		return ""
	}
	mac := hmac.New(sha256.New, g.cfg.Membership.Secret)
	mac.Write([]byte("ringrun page"))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

func (g *Group) serveRun(ctx context.Context, l net.Listener) error {
	defer l.Close()
	client, err := membership.ControlClient(g.cfg.Membership.Secret, g.node().Run())
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	s := web.New(web.Config{
		Client: client, Token: g.pageToken(l.Addr()), Over: g.over,
		Seeds: func() []string { return []string{g.node().Addr()} },
	})
	stop := context.AfterFunc(ctx, s.Close)
	defer func() {
		stop()
		s.Close()
	}()
	return s.Serve(l)
}

func serveUntil(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: pageTimeout, WriteTimeout: pageTimeout, IdleTimeout: pageTimeout}
	defer context.AfterFunc(ctx, func() { s.Close() })()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
