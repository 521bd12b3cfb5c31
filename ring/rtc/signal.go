package rtc

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// noteTimeout bounds how long a note may take; the next one waits behind it.
const noteTimeout = 2 * time.Second

// note is a message that is sent when there is time, and may get lost.
type note struct {
	to string
	message
}

// receive delivers what arrives through the Signaler until ctx ends. It never
// waits for anything else, so that two peers cannot wait for each other.
func (t *Transport) receive(ctx context.Context) {
	for {
		from, data, err := t.cfg.Signal.Receive(ctx)
		if err != nil {
			t.stop(fmt.Errorf("rtc: receive signals: %w", err))
			return
		}
		m, err := parseMessage(data)
		if err == nil {
			err = t.checkSender(from, m)
		}
		if err != nil {
			t.cfg.Logger.Debug("signal ignored", zap.String("from", from), zap.Error(err))
			continue
		}
		if refusal := t.mail.put(m); refusal != "" {
			t.end(from, m, refusal)
		}
	}
}

// checkSender checks that m names its sender and us as the two ends of the
// edge, and that it is for its sender to say.
func (t *Transport) checkSender(from string, m message) error {
	dials := from == m.From && t.cfg.ID == m.To
	accepts := from == m.To && t.cfg.ID == m.From
	switch m.Kind {
	case kindOffer:
		accepts = false
	case kindAnswer:
		dials = false
	}
	if !dials && !accepts {
		return fmt.Errorf("%w: %s from %q for the edge %s", errMessage, m.Kind, from, m.edge)
	}
	return nil
}

// end tells peer that the session of m is over. The note may get lost; then
// the peer learns it when its context ends.
func (t *Transport) end(peer string, m message, reason string) {
	n := note{peer, message{Kind: kindEnd, Session: m.Session, edge: m.edge, Reason: reason}}
	select {
	case t.notes <- n:
	default:
		t.cfg.Logger.Debug("note dropped", zap.String("to", peer), zap.String("reason", reason))
	}
}

// post sends notes until ctx ends.
func (t *Transport) post(ctx context.Context) {
	for {
		select {
		case n := <-t.notes:
			ctx, cancel := context.WithTimeout(ctx, noteTimeout)
			if err := t.cfg.Signal.Send(ctx, n.to, n.encode()); err != nil {
				t.cfg.Logger.Debug("note lost", zap.String("to", n.to), zap.Error(err))
			}
			cancel()
		case <-ctx.Done():
			return
		}
	}
}
