package ring

import "context"

// A Board is memory that the peers of a ring have in common. Each peer has a
// sheet and an arena to which it alone can write, and which all can read. It
// lives for one epoch, but the arenas behind it live on.
//
// A word is 64 bits at a multiple of 8 bytes in a sheet. Nothing that is read
// from another peer can be trusted; but it is there to be read, whatever becomes
// of that peer, until Close.
//
// One goroutine at a time may use a Board.
type Board interface {
	// Sheet returns the sheet of a rank; all have the same length, and begin with
	// zeros.
	Sheet(rank int) []byte
	// Arena returns the memory of a rank's Alloc.
	Arena(rank int) []byte
	// Post sets the word at a place of our sheet, and wakes who waits for it. Who
	// sees the value sees also all that was written before.
	Post(at int, value uint64)
	// Await waits until the word at a place of a rank's sheet has reached a value
	// and returns the word. It calls quit every now and then, at the latest after
	// some milliseconds, and returns its error.
	Await(rank, at int, value uint64, quit func() error) (uint64, error)
	// Peek returns the word at a place of a rank's sheet.
	Peek(rank, at int) uint64
	// Close unmaps the memory.
	Close() error
}

// A Sharer is a Transport whose peers share memory, all of them.
type Sharer interface {
	Transport
	// Share opens the board of a ring. All peers call it, with the same names in
	// rank order. The place of an edge between two of them is taken by no link. It
	// returns when this peer has the memory of all others, or when ctx ends.
	Share(ctx context.Context, peers []string, at Edge) (Board, error)
}

// openBoard completes the ring with a board.
func (r *Ring) openBoard(ctx context.Context, s Sharer) {
	b, err := s.Share(ctx, r.Peers(), Edge{Self: r.peers[r.rank], Epoch: r.epoch, Lane: r.seats + boardSeat})
	if err != nil {
		r.fail(err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.board = b
}

// TakeBoard returns the ring's board, which belongs to the caller from then on,
// and nil where there is none, or no more. Close closes a board that nobody has
// taken.
func (r *Ring) TakeBoard() Board {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.board
	r.board = nil
	return b
}
