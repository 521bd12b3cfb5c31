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

	// Witness says that it has no model: it votes and does nothing else.
	Witness bool `json:",omitempty"`
}

// A View is one generation of the group: the peers that take part in an epoch,
// in rank order.
type View struct {
	Epoch uint64
	Group string // ID of the peer that founded the group, and its last stands
	Peers []Peer

	// Witnesses vote on the next view like the peers, and have no rank.
	Witnesses []Peer `json:",omitempty"`
	// Prefer names the peer whose half goes on when a group is cut in two: an ID,
	// or the part before the last dash of one. All views of a group have the same.
	Prefer string `json:",omitempty"`
	// Limit is the most peers that a view may have by letting newcomers in; 0: any
	// number. All views of a group have the same.
	Limit int `json:",omitempty"`
	// Quarantine is how many ticks nobody is let in after this view, because it
	// leaves out somebody who may live, or one before it did, unless these are
	// proven dead meanwhile: see laststand.go.
	Quarantine int    `json:",omitempty"`
	LeftOut    []Peer `json:",omitempty"`
}

// Rank returns the place of a peer in the view, and -1 if it is not in it or is
// a witness.
func (v View) Rank(id string) int {
	return slices.IndexFunc(v.Peers, func(p Peer) bool { return p.ID == id })
}

// members returns all who choose the next view: the peers, then the witnesses.
func (v View) members() []Peer {
	if len(v.Witnesses) == 0 {
		return v.Peers
	}
	return slices.Concat(v.Peers, v.Witnesses)
}

// seat returns the place of a member among all of them, and -1 if it is none.
func (v View) seat(id string) int {
	return slices.IndexFunc(v.members(), func(p Peer) bool { return p.ID == id })
}

func (v View) has(id string) bool { return v.seat(id) >= 0 }

// preferred returns the ID of the member that decides between two halves; none
// if nobody is preferred, or the one who was is not in the view.
func (v View) preferred() string {
	if v.Prefer == "" {
		return ""
	}
	for _, p := range v.members() {
		if p.ID == v.Prefer || strings.HasPrefix(p.ID, v.Prefer+"-") {
			return p.ID
		}
	}
	return ""
}

// ids is a set of peer IDs.
type ids map[string]bool

// successor returns the view after v: those who stay keep their order, newcomers
// follow in order of their IDs, up to the limit.
func successor(v View, stay ids, newcomers []Peer) View {
	next := View{Epoch: v.Epoch + 1, Group: v.Group, Prefer: v.Prefer, Limit: v.Limit}
	come := slices.DeleteFunc(slices.Clone(newcomers), func(p Peer) bool { return v.has(p.ID) })
	slices.SortFunc(come, func(a, b Peer) int { return strings.Compare(a.ID, b.ID) })
	come = slices.CompactFunc(come, func(a, b Peer) bool { return a.ID == b.ID })
	for _, p := range slices.Concat(v.members(), come) {
		switch {
		case v.has(p.ID) && !stay[p.ID]:
		case p.Witness:
			next.Witnesses = append(next.Witnesses, p)
		case v.has(p.ID) || !next.full():
			next.Peers = append(next.Peers, p)
		}
	}
	return next
}

// full reports whether no newcomer may be let in that trains.
func (v View) full() bool { return v.Limit > 0 && len(v.Peers) >= v.Limit }

// keeps reports whether a peer of v is in next: only those have the group's
// state, so a view without one is of no use.
func (v View) keeps(next View) bool {
	return slices.ContainsFunc(v.Peers, func(p Peer) bool { return next.Rank(p.ID) >= 0 })
}

// quorum reports whether the members in have may decide what follows v, given
// those proven dead: a strict majority of v may, and so may all of v that are
// not proven dead, if they are at least half of it. If a member of v is
// preferred, only that half may that has it, and needs no proof: its vote counts
// for a little more than one, so that no two halves are alike, and all quorums
// are majorities of votes.
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
	size := len(v.members())
	switch first := v.preferred(); {
	case 2*members != size:
		return 2*members > size
	case first != "":
		return have[first]
	default:
		return missing == 0 && 2*survivors >= size
	}
}

// count returns how many of v are in have, how many are not proven dead, and how
// many of the latter are not in have.
func count(v View, dead, have ids) (members, survivors, missing int) {
	for _, p := range v.members() {
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
