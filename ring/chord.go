package ring

// Chords are lanes across the ring: chord k leads to the peer that is 2^(k+1)
// further on, as long as that is less than the size. With them and the lanes to
// the next peer, what a peer sends to all others needs the logarithm of the size
// in steps, where the ring alone needs size-1. They carry frames, heartbeats and
// aborts as lanes do; but since the neighbours watch each other already, an idle
// chord sends a third of the heartbeats of an idle lane.

// firstChord is the number of chord 0 among the lanes; those of the ring come
// before it.
const firstChord = maxLanes

// Strides returns how far the chords of a ring lead.
func Strides(size int) (all []int) {
	for stride := 2; stride < size; stride *= 2 {
		all = append(all, stride)
	}
	return all
}

// Chords returns the chords, none where Config.Chords was not set or the ring is
// of less than three. Chord i leads to chord i of the peer that is Strides[i]
// further on.
func (r *Ring) Chords() []*Lane { return append([]*Lane(nil), r.chords...) }

func (r *Ring) addChords() {
	for i, stride := range Strides(len(r.peers)) {
		l := r.lane(stride, firstChord+i)
		l.next.rarely, l.prev.rarely = true, true
		r.chords = append(r.chords, l)
	}
}
