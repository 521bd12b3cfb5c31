package membership

// Retire asks the members to go on without this peer, as Leave does, but neither
// waits nor closes the node: it still takes part until Next reports ErrExcluded.
// When all members retire there is no such view. A peer that is in no view yet
// asks nobody.
func (n *Node) Retire() { n.ask((*agreement).leave) }
