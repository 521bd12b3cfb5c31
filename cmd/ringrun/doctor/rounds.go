package doctor

// Rounds pairs n hosts so that each meets each other once, and none is in two
// pairs of one round: what is measured does not share a host's link.
func Rounds(n int) [][][2]int {
	m := n + n%2 // an odd one out meets nobody
	var rounds [][][2]int
	for r := range m - 1 {
		var round [][2]int
		for i := range m / 2 {
			a, b := seat(r, i, m), seat(r, m-1-i, m)
			if a < n && b < n {
				round = append(round, [2]int{min(a, b), max(a, b)})
			}
		}
		rounds = append(rounds, round)
	}
	return rounds
}

// seat is who sits at place i in round r of a circle of m in which all but the
// last move on.
func seat(r, i, m int) int {
	if i == m-1 {
		return m - 1
	}
	return (r + i) % (m - 1)
}
