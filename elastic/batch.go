package elastic

// LearningRateScale returns how many times Samples.Batch the step in progress has,
// for a solver that shall learn that much faster (the linear rule of Goyal et al.,
// "Accurate, large minibatch SGD", 2017). With a constant batch it is 1; with
// Samples.Scale it is the number of peers for which the step was dealt, the same on
// all of them, also when one is lost before the step is committed. The short last
// step of an epoch counts as a whole one. It is for the function that Commit calls
// to apply the step, and for Shards' loop.
//
// Without Shards the program deals with samples itself: then it is 1, or the number
// of peers if Config.Batch is "scale".
func (g *Group) LearningRateScale() float64 {
	switch {
	case g.ledger == nil && g.cfg.Batch == "scale":
		return max(g.next.weights.Total, 1)
	case g.ledger == nil || !g.ledger.Samples.Scale:
		return 1
	}
	return float64(max(g.ledger.peers, 1))
}
