// Package web shows a run in a browser: the ring, how fast it goes, and what
// happens to it. It only looks: nothing that a browser sends changes anything.
package web

import (
	"context"
	"crypto/subtle"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

//go:embed page
var page embed.FS

// Config says which run to show, and to whom.
type Config struct {
	// Client asks peers; see membership.ControlClient.
	Client *http.Client
	// Seeds returns addresses of peers that may be asked for the others.
	Seeds func() []string
	// Token is what a browser must show, in ?token= the first time. Without one
	// everybody may look who reaches the server at an IP address or as localhost.
	Token string
	// Over, unless nil, says whether the run has ended. Pages that are open when the
	// server is closed then show that, not a connection that is lost.
	Over func() bool
}

// A Server answers browsers. Peers are asked only while a page is open.
type Server struct {
	cfg    Config
	mux    *http.ServeMux
	watch  *watcher
	ctx    context.Context // of the streams
	cancel context.CancelFunc

	mu      sync.Mutex // guards streams
	streams int
	quiet   sync.WaitGroup // of the streams

	end sync.Once // a last look at the peers
}

const (
	maxStreams  = 64 // open pages
	readTimeout = 10 * time.Second
	sendTimeout = 10 * time.Second // for a browser to take what changed
	retryMillis = 500              // for a browser to come back
	lastWord    = time.Second      // for pages to be told that the run has ended
)

// New returns a server, to be closed.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, mux: http.NewServeMux(), watch: newWatcher(cfg.Client, cfg.Seeds)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for path, file := range map[string]struct{ name, kind string }{
		"/{$}": {"index.html", "text/html; charset=utf-8"}, "/style.css": {"style.css", "text/css; charset=utf-8"},
		"/app.js": {"app.js", "text/javascript; charset=utf-8"}, "/ring.js": {"ring.js", "text/javascript; charset=utf-8"},
		"/chart.js": {"chart.js", "text/javascript; charset=utf-8"}, "/icon.svg": {"icon.svg", "image/svg+xml"},
	} {
		text, err := page.ReadFile("page/" + file.name)
		if err != nil {
			panic(err) // it was embedded
		}
		s.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", file.kind)
			_, _ = w.Write(text)
		})
	}
	s.mux.HandleFunc("GET /live", s.live)
	return s
}

// Serve answers at l until Close.
func (s *Server) Serve(l net.Listener) error {
	server := &http.Server{Handler: s, ReadHeaderTimeout: readTimeout, IdleTimeout: readTimeout, MaxHeaderBytes: 16 << 10}
	closed := make(chan struct{})
	stop := context.AfterFunc(s.ctx, func() {
		defer close(closed)
		s.hush()
		server.Close()
	})
	err := server.Serve(l)
	if !stop() {
		<-closed
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// hush waits until all streams have ended, but not for long: who does not read
// is cut off.
func (s *Server) hush() {
	quiet := make(chan struct{})
	go func() { // ends with the last stream
		s.quiet.Wait()
		close(quiet)
	}()
	late := time.NewTimer(lastWord)
	defer late.Stop()
	select {
	case <-quiet:
	case <-late.C:
	}
}

// Close ends all streams.
func (s *Server) Close() {
	s.mu.Lock()
	s.cancel() // from now on none is added
	s.mu.Unlock()
	s.quiet.Wait()
	s.watch.wait()
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if !s.admits(w, r) {
		return
	}
	s.mux.ServeHTTP(w, r)
}

// admits reports whether a request may be answered, and answers it if not.
//
// Without a token, a page of a foreign site must not get at us by a name of its
// own that it lets lead here; so we answer to no names. With a token that does not
// help it: a browser shows the cookie only to the name that it got it from.
func (s *Server) admits(w http.ResponseWriter, r *http.Request) bool {
	if s.cfg.Token == "" {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if host != "localhost" && net.ParseIP(strings.Trim(host, "[]")) == nil {
			http.Error(w, fmt.Sprintf("This page is to be asked for at an IP address or as localhost, not as %q.", host), http.StatusForbidden)
			return false
		}
		return true
	}
	if s.shown(r.URL.Query().Get("token")) {
		http.SetCookie(w, &http.Cookie{Name: s.cookie(r), Value: s.cfg.Token, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
		if r.URL.Path == "/" {
			http.Redirect(w, r, "/", http.StatusSeeOther) // so that the token is not in the address bar
			return false
		}
		return true
	}
	if c, err := r.Cookie(s.cookie(r)); err == nil && s.shown(c.Value) {
		return true
	}
	http.Error(w, "This page needs the token that is in the address that ringrun printed (…/?token=…).", http.StatusUnauthorized)
	return false
}

func (s *Server) shown(token string) bool {
	return subtle.ConstantTimeCompare([]byte(token), []byte(s.cfg.Token)) == 1
}

// cookie is what ours is called: browsers do not tell ports apart.
func (s *Server) cookie(r *http.Request) string {
	_, port, _ := net.SplitHostPort(r.Host)
	return "ringrun-" + port
}

// live sends a snapshot whenever there is a new one, with the events and points
// that are new since the one before, as server-sent events.
func (s *Server) live(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		http.Error(w, fmt.Sprintf("%d pages are open already", maxStreams), http.StatusServiceUnavailable)
		return
	}
	defer s.leave()
	s.watch.open()
	defer s.watch.close()
	w.Header().Set("Content-Type", "text/event-stream")
	flow := http.NewResponseController(w)
	fmt.Fprintf(w, "retry: %d\n\n", retryMillis)
	var pos position
	for {
		shot, changed := s.watch.since(&pos)
		_ = flow.SetWriteDeadline(time.Now().Add(sendTimeout)) // in tests there is none
		if shot != nil && send(w, shot) != nil || flow.Flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-s.ctx.Done():
			if s.cfg.Over != nil && s.cfg.Over() {
				_ = flow.SetWriteDeadline(time.Now().Add(lastWord))
				_, _ = s.tellEnd(w, &pos), flow.Flush() // nobody reads any more: that is all the same now
			}
			return
		}
	}
}

// tellEnd sends what the peers say at the end.
func (s *Server) tellEnd(w io.Writer, pos *position) error {
	s.end.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*lookWait)
		defer cancel()
		var asking sync.WaitGroup
		s.watch.look(ctx, &asking)
		asking.Wait()
	})
	if shot := s.watch.ended(pos); shot != nil {
		return send(w, shot)
	}
	return nil
}

func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams >= maxStreams || s.ctx.Err() != nil {
		return false
	}
	s.streams++
	s.quiet.Add(1)
	return true
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams--
	s.quiet.Done()
}

func send(w io.Writer, shot *snapshot) error {
	b, err := json.Marshal(shot)
	if err != nil {
		panic(err) // strings and numbers
	}
	_, err = fmt.Fprintf(w, "data: %s\n\n", b)
	return err
}

// A position is how far a page has come.
type position struct {
	events uint64
	points int64
}

// since returns the newest snapshot, if there is one, and what closes when there
// is another.
func (w *watcher) since(pos *position) (*snapshot, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.snapshot == nil {
		return nil, w.changed
	}
	shot := *w.snapshot
	shot.Events = w.log.after(pos.events)
	pos.events = w.log.number
	for _, p := range w.points {
		if p.Time > pos.points {
			shot.Points = append(shot.Points, p)
			pos.points = p.Time
		}
	}
	return &shot, w.changed
}

// ended is the newest snapshot of a run that has ended since.
func (w *watcher) ended(pos *position) *snapshot {
	shot, _ := w.since(pos)
	if shot == nil {
		return nil
	}
	shot.Ended, shot.Nodes = true, slices.Clone(shot.Nodes)
	for i, n := range shot.Nodes {
		if n.Rank >= 0 {
			shot.Nodes[i].State, shot.Nodes[i].Why = stateEnded, ""
		}
	}
	return shot
}
