package paths

import (
	"context"
	"crypto/subtle"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	tryTime   = 2500 * time.Millisecond // a lost packet is sent again after one second
	lateTime  = 250 * time.Millisecond  // for the other addresses when one has answered
	greetTime = 2 * time.Second
	maxGuests = 256
)

// A Result is what became of the try to reach an address.
type Result struct {
	Reached bool   `json:"reached,omitempty"`
	Why     string `json:"why,omitempty"` // not
}

// A Target is a host to be tried.
type Target struct {
	Name      Token        `json:"name"` // which it says if it is the right one
	Port      int          `json:"port"`
	Addresses []netip.Addr `json:"addresses"`
}

// A Door answers those who know the token with a name, until it is closed.
type Door struct {
	Port     int
	listener net.Listener
	guests   sync.WaitGroup
	room     chan struct{}
}

// Open opens one, at any port of all addresses.
func Open(token, name Token) (*Door, error) {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		return nil, err
	}
	d := &Door{Port: l.Addr().(*net.TCPAddr).Port, listener: l, room: make(chan struct{}, maxGuests)}
	d.guests.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			select {
			case d.room <- struct{}{}:
				d.guests.Go(func() {
					answer(c, token, name)
					<-d.room
				})
			default:
				c.Close() // more strangers than there may be hosts at once
			}
		}
	})
	return d, nil
}

// Close may be called on none.
func (d *Door) Close() {
	if d != nil {
		d.listener.Close()
		d.guests.Wait()
	}
}

func answer(c net.Conn, token, name Token) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(greetTime))
	var said Token
	if _, err := io.ReadFull(c, said[:]); err == nil && subtle.ConstantTimeCompare(said[:], token[:]) == 1 {
		_, _ = c.Write(name[:])
	}
}

// Try tries all addresses of all targets at once. It takes 2.5 s at most, and a
// quarter of a second when every target has answered at one address.
func Try(ctx context.Context, token Token, targets []Target) [][]Result {
	all := make([][]Result, len(targets))
	var trying sync.WaitGroup
	for i, t := range targets {
		trying.Go(func() { all[i] = t.try(ctx, token) })
	}
	trying.Wait()
	return all
}

func (t Target) try(ctx context.Context, token Token) []Result {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	results := make([]Result, len(t.Addresses))
	var trying sync.WaitGroup
	for i, ip := range t.Addresses {
		trying.Go(func() {
			err := t.knock(ctx, ip, token)
			if err == nil {
				results[i].Reached = true
				time.AfterFunc(lateTime, cancel)
			} else {
				results[i].Why = reason(err)
			}
		})
	}
	trying.Wait()
	return results
}

var errStranger = errors.New("another machine answers")

func (t Target) knock(ctx context.Context, ip netip.Addr, token Token) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(ip.String(), strconv.Itoa(t.Port)))
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	if _, err := c.Write(token[:]); err != nil {
		return err
	}
	var name Token
	if _, err := io.ReadFull(c, name[:]); err != nil {
		return err
	}
	if name != t.Name {
		return errStranger
	}
	return nil
}

// reason is in words for users.
func reason(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "no route"
	case errors.Is(err, errStranger), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return "another machine answers"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, net.ErrClosed),
		errors.As(err, &timeout) && timeout.Timeout():
		return "no answer"
	}
	return err.Error()
}
