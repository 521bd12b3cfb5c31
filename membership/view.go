package membership

import (
	"slices"
	"strings"
)

// A Peer is one process of the run. Its ID is new at every start and never used
// again, so what was promised under an old ID needs no disk.
type Peer struct {
	ID   string
	Addr string // host:port of its gossip, TCP and UDP
	Meta []byte // opaque here: what the others need to open links to it
}

// A View is one generation of the group: the peers that take part in an epoch,
// in rank order.
type View struct {
	Epoch uint64
	Group string // ID of the peer that founded the group, and its last stands
	Peers []Peer
}

// Rank returns the place of a peer in the view, and -1 if it is not in it.
func (v View) Rank(id string) int {
	return slices.IndexFunc(v.Peers, func(p Peer) bool { return p.ID == id })
}

func (v View) has(id string) bool { return v.Rank(id) >= 0 }

// ids is a set of peer IDs.
type ids map[string]bool

// successor returns the view after v: those who stay keep their order, newcomers
// follow in order of their IDs.
func successor(v View, stay ids, newcomers []Peer) View {
	next := View{Epoch: v.Epoch + 1, Group: v.Group}
	for _, p := range v.Peers {
		if stay[p.ID] {
			next.Peers = append(next.Peers, p)
		}
	}
	come := slices.DeleteFunc(slices.Clone(newcomers), func(p Peer) bool { return v.has(p.ID) })
	slices.SortFunc(come, func(a, b Peer) int { return strings.Compare(a.ID, b.ID) })
	next.Peers = append(next.Peers, slices.CompactFunc(come, func(a, b Peer) bool { return a.ID == b.ID })...)
	return next
}

// quorum reports whether the peers in have may decide what follows v, given
// those proven dead: a strict majority of v may, and so may all of v that are
// not proven dead, if they are at least half of it.
//
// Two decisions by different quorums must be impossible, so any two must share a
// member (Paxos). Two majorities do, and a majority and a half do. Two halves
// that share none would each have to prove all of the other dead; but somebody
// of each lives when it decides, so each would have decided before the other.
//
// Two rules that allow more would not do. A majority of those not proven dead:
// of five, {a,b,c} go on without d and e, whom they cannot reach; b and c die;
// {d,e} are a majority of {a,d,e} and go on without a. All that are not proven
// dead, however few: {a,b,c} go on, let f in, and die; {d,e} come back, find
// a, b and c dead, and go on, while f is alive. For that see laststand.go.
func quorum(v View, dead, have ids) bool {
	members, survivors, missing := count(v, dead, have)
	return 2*members > len(v.Peers) || missing == 0 && 2*survivors >= len(v.Peers)
}

// count returns how many of v are in have, how many are not proven dead, and how
// many of the latter are not in have.
func count(v View, dead, have ids) (members, survivors, missing int) {
	for _, p := range v.Peers {
		if have[p.ID] {
			members++
		}
		if !dead[p.ID] {
			survivors++
			if !have[p.ID] {
				missing++
			}
		}
	}
	return members, survivors, missing
}
