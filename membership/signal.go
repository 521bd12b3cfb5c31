package membership

import (
	"context"
	"fmt"
)

// Signal sends a small message to a peer of the current view, reliably: it
// arrives, or Signal returns an error.
func (n *Node) Signal(ctx context.Context, to string, data []byte) error {
	n.mu.Lock()
	v := n.view
	n.mu.Unlock()
	r := v.Rank(to)
	if r < 0 {
		return fmt.Errorf("membership: signal to %s, which is not in view %d", to, v.Epoch)
	}
	m := message{Kind: kindSignal, Group: v.Group, From: n.cfg.ID, Addr: n.gossip.addr(), To: to, Data: data}
	if err := n.gossip.sendReliable(ctx, v.Peers[r].Addr, m.encode()); err != nil {
		return fmt.Errorf("membership: signal to %s: %w", to, err)
	}
	return nil
}

// Receive waits for the next signal from any peer.
func (n *Node) Receive(ctx context.Context) (from string, data []byte, err error) {
	for {
		select {
		case m := <-n.signals:
			if m.To == n.cfg.ID {
				return m.From, m.Data, nil
			}
		case <-n.quit:
			return "", nil, ErrClosed
		case <-ctx.Done():
			return "", nil, context.Cause(ctx)
		}
	}
}
