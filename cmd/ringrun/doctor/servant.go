package doctor

import (
	"context"
	"errors"
	"time"
)

// A Request is what a host is asked to do; one of its fields beside ID is set, or
// none: then it tells the time.
type Request struct {
	ID     int     `json:"id"`
	Open   *Open   `json:"open,omitempty"`
	Query  *Query  `json:"query,omitempty"`
	Target *Target `json:"target,omitempty"`
}

// Open lets a host answer the probes of others. It also finds the address that
// its peers would use.
type Open struct {
	Name    string   `json:"name"` // of this host, for the others
	Token   Token    `json:"token"`
	Port    int      `json:"port,omitempty"`
	Reached []string `json:"reached,omitempty"` // addresses by which it was reached
	Toward  []string `json:"toward,omitempty"`  // addresses of the others
}

// A Reply answers the request of the same ID.
type Reply struct {
	ID    int       `json:"id"`
	Now   time.Time `json:"now"`
	Port  int       `json:"port,omitempty"`
	Use   string    `json:"use,omitempty"` // the address that peers here bind
	Facts *Facts    `json:"facts,omitempty"`
	Ways  []Way     `json:"ways,omitempty"`
	Error string    `json:"error,omitempty"`
}

// A Servant does on a host what is asked of it.
type Servant struct {
	// Bind chooses the address of this host that peers bind, as in a run.
	Bind func(reached, toward []string) string

	echo *echo
}

// Serve answers one request. Those that open or close must not overlap others.
func (s *Servant) Serve(ctx context.Context, r Request) Reply {
	reply := Reply{ID: r.ID, Now: time.Now()}
	var err error
	switch {
	case r.Open != nil:
		reply.Use = s.Bind(r.Open.Reached, r.Open.Toward)
		reply.Port, err = s.open(*r.Open)
	case r.Query != nil:
		f := Gather(ctx, *r.Query)
		reply.Facts = &f
	case r.Target != nil:
		reply.Ways = Probe(ctx, *r.Target)
	}
	if err != nil {
		reply.Error = err.Error()
	}
	return reply
}

var errOpen = errors.New("doctor: open already")

func (s *Servant) open(o Open) (int, error) {
	if s.echo != nil {
		return 0, errOpen
	}
	e, err := listenEchoOn("", o.Port, o.Token, o.Name)
	if err != nil {
		return 0, err
	}
	s.echo = e
	return e.Port(), nil
}

// Close ends the answers to others.
func (s *Servant) Close() {
	if s.echo != nil {
		s.echo.Close()
		s.echo = nil
	}
}
