package paths

import "context"

// A Request is what a launcher asks of a host; one of its fields is set.
type Request struct {
	Listen *Listen `json:"listen,omitempty"` // answered with addresses and a port
	Try    *Tries  `json:"try,omitempty"`    // answered with results
	Close  bool    `json:"close,omitempty"`  // answered with nothing
}

// Listen opens the host's door.
type Listen struct {
	Token Token `json:"token"`
	Name  Token `json:"name"`
}

// Tries are those at the doors of others.
type Tries struct {
	Token   Token    `json:"token"`
	Targets []Target `json:"targets"`
}

// A Reply answers a request.
type Reply struct {
	Addresses []Address  `json:"addresses,omitempty"`
	Port      int        `json:"port,omitempty"`
	Results   [][]Result `json:"results,omitempty"` // by target and address
	Error     string     `json:"error,omitempty"`
}

// A Servant answers requests, one after the other.
type Servant struct{ door *Door }

// Serve answers one; not a request to close.
func (s *Servant) Serve(ctx context.Context, r Request) (reply Reply) {
	var err error
	switch {
	case r.Listen != nil:
		s.Close()
		if s.door, err = Open(r.Listen.Token, r.Listen.Name); err == nil {
			reply.Port = s.door.Port
			reply.Addresses, err = Own()
		}
	case r.Try != nil:
		reply.Results = Try(ctx, r.Try.Token, r.Try.Targets)
	}
	if err != nil {
		reply.Error = err.Error()
	}
	return reply
}

// Close closes the door, if there is one.
func (s *Servant) Close() {
	s.door.Close()
	s.door = nil
}
