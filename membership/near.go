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
