//go:build !linux

package tcp

import (
	"net"

	"github.com/ringrun/ringrun/ring"
)

func (t *Transport) direct(*net.TCPConn, ring.Edge) ring.Link { return nil }
