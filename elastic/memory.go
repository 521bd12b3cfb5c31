package elastic

import (
	"unsafe"

	"github.com/ringrun/ringrun/ring/shm"
	"go.uber.org/zap"
)

// newArena returns the memory that the peers of this host share, as long as this
// peer lives under whatever ID, and nil where there is none.
func newArena(cfg Config) *shm.Arena {
	if cfg.Transport != "auto" && cfg.Transport != "shm" || shm.Identity() == "" {
		return nil
	}
	a, err := shm.NewArena()
	if err != nil {
		cfg.Logger.Debug("no arena", zap.Error(err))
		return nil
	}
	return a
}

// Alloc returns zeros, aligned to 64 bytes at least, for vectors that are
// reduced often: gradients, say. Where all peers share one host's memory, a
// vector in it is reduced where it lies, two to four times as fast as elsewhere.
// It is ordinary memory where there is no shared memory, or no more. It outlives
// generations, and the Group. Alloc and Free may be called from any goroutine.
func (g *Group) Alloc(bytes int) []byte {
	if g.arena != nil {
		if b, err := g.arena.Alloc(bytes); err == nil {
			return b
		}
	}
	const align = 64
	b := make([]byte, bytes+align-1)
	at := -uintptr(unsafe.Pointer(&b[0])) & (align - 1)
	return b[at : int(at)+bytes : int(at)+bytes]
}

// Free takes back what Alloc has returned; memory that is not freed is kept to
// the end of the process. No collective may work on it. Nothing may use it
// afterwards: unlike other memory it may be given to somebody else at once.
func (g *Group) Free(b []byte) {
	if g.arena != nil {
		g.arena.Free(b)
	}
}
