package membership

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"go.uber.org/zap"
)

// errEnded tells a witness that nobody trains any more.
var errEnded = errors.New("membership: all peers have left")

// Witness takes part in the votes of a group, without a model, until its peers
// have left or ctx ends, and then returns nil. With a witness on a third host,
// one of two hosts goes on when the other is cut off. It joins through cfg.Join;
// if the group goes on without it, it joins again under another ID.
func Witness(ctx context.Context, cfg Config) error {
	cfg.Witness = true
	cfg = cfg.withDefaults()
	for base := cfg.ID; ; cfg.ID = base + "-" + hex.EncodeToString(randomBytes(2)) {
		n, err := Start(ctx, cfg)
		if err != nil {
			return err
		}
		err = n.attend(ctx)
		switch {
		case errors.Is(err, errEnded) || errors.As(err, new(*EndedError)):
			return n.Close()
		case ctx.Err() != nil:
			leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxProbe)
			defer cancel()
			return n.Leave(leave)
		case !errors.Is(err, ErrExcluded):
			n.Close()
			return err
		}
		cfg.Join = n.Others()
		n.log.Warn("the group went on without this witness; joining again")
		n.Close()
	}
}

// attend follows the views until there are no more.
func (n *Node) attend(ctx context.Context) error {
	for epoch := uint64(0); ; {
		v, err := n.Next(ctx, epoch)
		if err != nil {
			return err
		}
		epoch = v.Epoch
		n.log.Info("witness of", zap.Uint64("epoch", epoch), zap.Int("peers", len(v.Peers)))
	}
}

// settleIn is called with each new view: it compares the group's policy with
// ours.
func (n *Node) settleIn(v View) error {
	if p := n.policy.prefer; p != "" && p != v.Prefer {
		return fmt.Errorf("membership: this peer was told -on-partition prefer=%s, but its group prefers %s: all peers of a group have to prefer the same one",
			p, orNobody(v.Prefer))
	}
	return nil
}

func orNobody(id string) string {
	if id == "" {
		return "nobody"
	}
	return id
}
