package membership

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
)

const (
	// knockTime is how long a joiner knocks where nobody answers: the founder
	// may have been started a little later. With foundTimeout it stays below the
	// 10 s within which the user is to know.
	knockTime = 8 * time.Second
	// hangTime is how long a joiner knocks where it is hung up on.
	hangTime = 2 * time.Second
	// askTimeout bounds one question to one address.
	askTimeout = 3 * time.Second
	// foundTimeout bounds a founder's question whether its group lives, and the
	// last question of a joiner.
	foundTimeout = 1500 * time.Millisecond

	firstPause = 100 * time.Millisecond
	lastPause  = time.Second
)

var errAlone = errors.New("it is up but is in no group itself yet: was one founded?")

// errMute: a connection was made, and no time was left for an answer.
var errMute = errors.New("it takes the connection and says nothing")

// join finds the group, if there is one, and reports whether we founded it.
func (g *gossip) join(ctx context.Context, cfg Config) (founded bool, err error) {
	if cfg.Found {
		return g.foundOrJoin(ctx, cfg)
	}
	ctx, cancel := context.WithTimeout(ctx, max(cfg.JoinTimeout, cfg.JoinWait))
	defer cancel()
	var last []error // what the addresses said when they were asked to the end
	start, pause := time.Now(), firstPause
	for {
		left := max(knockTime, cfg.JoinWait) - time.Since(start)
		errs := g.tryAll(ctx, cfg.Join, min(askTimeout, max(left, foundTimeout)))
		if errs == nil {
			return false, nil
		}
		if last == nil || ctx.Err() == nil {
			last = errs
		}
		if giveUp(last, time.Since(start)+pause, cfg.JoinWait) || !sleep(ctx, pause) {
			return false, joinError(cfg, last)
		}
		pause = min(2*pause, lastPause)
	}
}

// foundOrJoin founds a group unless somebody of the join list is in one. Other
// runs may have the old ports by now, but our own run with another secret is a
// mistake that must not split it.
func (g *gossip) foundOrJoin(ctx context.Context, cfg Config) (founded bool, err error) {
	if len(cfg.Join) == 0 {
		return true, nil
	}
	errs := g.tryAll(ctx, cfg.Join, foundTimeout)
	if errs == nil {
		return false, nil
	}
	for i, err := range errs {
		if m := (*mismatchError)(nil); errors.As(err, &m) && m.ours {
			return false, fmt.Errorf("membership: found or join %s: %w", cfg.Join[i], err)
		}
		g.log.Info("gossip: no group there", zap.String("addr", cfg.Join[i]), zap.Error(err))
	}
	return true, nil
}

// giveUp tells whether to stop knocking, given what each address said last and
// how long we would have waited at the next knock. Who is to wait for peers whose
// hosts are not there yet finds neither their names nor who stands in for them
// remarkable.
func giveUp(errs []error, waited, wait time.Duration) bool {
	for _, err := range errs {
		limit := knockTime
		if hungUp(err) {
			limit = hangTime
		}
		unknown := wait > 0 && unnamed(err)
		if errors.Is(err, errAlone) || (!final(err) || unknown) && waited < max(limit, wait) {
			return false
		}
	}
	return true
}

// final reports whether an error will be the same the next time.
func final(err error) bool {
	var stranger *strangerError
	var mismatch *mismatchError
	return errors.As(err, &stranger) || errors.As(err, &mismatch) || unnamed(err)
}

// unnamed reports whether there is no such name.
func unnamed(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

// silent reports whether an error means that nobody was there.
func silent(err error) bool {
	return !final(err) && !errors.Is(err, errAlone) && !hungUp(err)
}

func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// tryAll asks all addresses at once and joins through the first that is in a
// group. It returns nil, or one error for each address.
func (g *gossip) tryAll(ctx context.Context, addrs []string, timeout time.Duration) []error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	type answer struct {
		i   int
		at  string
		err error
	}
	answers := make(chan answer, len(addrs)) // nobody waits for a late one
	for i, addr := range addrs {
		wg.Go(func() {
			at, err := g.locate(ctx, addr)
			answers <- answer{i, at, err}
		})
	}
	errs := make([]error, len(addrs))
	for range addrs {
		a := <-answers
		if a.err == nil {
			if a.err = g.joinAt(a.at); a.err == nil {
				cancel()
				return nil
			}
		}
		errs[a.i] = a.err
	}
	return errs
}

// joinAt exchanges what is known with the member at an IP address. memberlist
// returns a list of errors, here of one.
func (g *gossip) joinAt(at string) error {
	_, err := g.list.Join([]string{at})
	if one := errors.Unwrap(err); one != nil {
		return one
	}
	return err
}

// locate finds the IP address at which a member of our group answers under
// addr, whose host may be a name.
func (g *gossip) locate(ctx context.Context, addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	ips, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return "", err
	}
	for _, ip := range ips {
		at := net.JoinHostPort(ip, port)
		if err = g.isMember(ctx, at); err == nil {
			return at, nil
		}
	}
	return "", err
}

// isMember returns nil if a member of our group answers, whom we can join.
func (g *gossip) isMember(ctx context.Context, at string) error {
	w, sameHost, err := g.transport.ask(ctx, at)
	door := g.transport.door
	switch {
	case err != nil:
		return err
	case w.start == door.start:
		return &mismatchError{text: "it is this peer itself"}
	case w.id == door.id:
		return &mismatchError{ours: true, text: fmt.Sprintf(
			"it has the ID %q too: each start of a peer needs an ID of its own (RINGRUN_ID)", w.id)}
	case !w.grouped:
		return errAlone
	case !sameHost && g.transport.advertise.Addr().IsLoopback():
		return &mismatchError{text: fmt.Sprintf(
			"it is on another host, which cannot reach this peer at %s: bind or advertise an address of this host's network", g.addr())}
	}
	return nil
}

// joinError says what each address of the join list has answered.
func joinError(cfg Config, errs []error) error {
	lines := make([]string, len(errs))
	nobody := true
	for i, err := range errs {
		lines[i] = cfg.Join[i] + ": " + explain(err)
		nobody = nobody && silent(err)
	}
	what := "cannot join run " + fmt.Sprintf("%q", cfg.Run)
	if nobody {
		what = "nobody answers"
	}
	return &unjoinedError{text: "membership: " + what + " at " + strings.Join(lines, "; "), errs: errs}
}

// An unjoinedError reads well and still has its causes.
type unjoinedError struct {
	text string
	errs []error
}

func (e *unjoinedError) Error() string   { return e.text }
func (e *unjoinedError) Unwrap() []error { return e.errs }

// explain puts the usual errors of the network into words that say what to do.
func explain(err error) string {
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "no process listens there: is the address right, and that peer still running?"
	case errors.As(err, &dns):
		return fmt.Sprintf("the name %q cannot be resolved: %s", dns.Name, dns.Err)
	case errors.Is(err, errMute):
		return errMute.Error() + ": is that a ringrun peer's address and not another program's, and that peer not stopped?"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "no answer: is the host up, the port open in its firewall, and that peer not stopped?"
	case hungUp(err):
		return "it hung up without a word: is that a ringrun peer's address?"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "the host cannot be reached from here"
	}
	return err.Error()
}

// sleep returns false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
