package membership

import "slices"

// together puts peers that are near each other, by a name that is not empty, next
// to each other in rank order: each behind the last of those before it that is
// near it. Who is first stays first. A ring then leaves every host once.
func together(all []Peer, near func(meta []byte) string) []Peer {
	if near == nil {
		return all
	}
	out := make([]Peer, 0, len(all))
	names := make([]string, 0, len(all))
	for _, p := range all {
		name, at := near(p.Meta), len(out)
		for i := len(names) - 1; name != "" && i >= 0; i-- {
			if names[i] == name {
				at = i + 1
				break
			}
		}
		out, names = slices.Insert(out, at, p), slices.Insert(names, at, name)
	}
	return out
}

// prefer puts peers into the order of a list, as far as they are in it; the others
// follow.
func prefer(all []Peer, order []string) []Peer {
	if len(order) == 0 {
		return all
	}
	place := func(p Peer) int {
		if i := slices.Index(order, p.ID); i >= 0 {
			return i
		}
		return len(order)
	}
	out := slices.Clone(all)
	slices.SortStableFunc(out, func(a, b Peer) int { return place(a) - place(b) })
	return out
}
