package elastic

import (
	"context"
	"encoding/json"
	"os"

	"github.com/ringrun/ringrun/membership"
	"github.com/ringrun/ringrun/ring/shm"
)

// place names the host that this peer is on, for those who ask which peers are on
// the same one: between them vectors travel through memory, and beyond it as
// little as can be. Config.Host, if it is set, stands for what the kernel says, so
// that one machine can be several hosts.
func (c Config) place() string {
	if c.Host != "" {
		return c.Host
	}
	if id := shm.Identity(); id != "" {
		return id
	}
	name, err := os.Hostname()
	if err != nil {
		return c.Membership.ID // a host of its own
	}
	return name
}

// near makes views keep the peers of a host together, so that a ring leaves each
// host once.
func near(raw []byte) string {
	var m meta
	if json.Unmarshal(raw, &m) != nil {
		return ""
	}
	return m.Place
}

// hosts returns the place of each peer of a view, by rank.
func (s *session) hosts(v membership.View) []string {
	hosts := make([]string, len(v.Peers))
	for rank, p := range v.Peers {
		if m, err := s.book.find(p.ID); err == nil {
			hosts[rank] = m.Place
		}
	}
	return hosts
}

// level lets the peers of a generation reduce within hosts first, where there are
// several. Links of WebRTC take too long to open for that.
func (g *Group) level(ctx context.Context, gen *generation) error {
	if g.cfg.Transport == "rtc" {
		return nil
	}
	return gen.comm.ByHosts(ctx, g.session.hosts(gen.view))
}
