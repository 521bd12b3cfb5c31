//go:build race

package tcp

import "sync/atomic"

// The race detector learns from every read and write system call that what was
// written may have caused what is read, wherever it went in between. It does
// not learn it from writev; so we tell it.
var wire atomic.Uint32

func sending()  { wire.Add(1) }
func received() { wire.Load() }
