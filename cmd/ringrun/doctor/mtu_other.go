//go:build !linux

package doctor

import "net"

// neverFragment is not possible here, so the MTU is not looked at.
func neverFragment(*net.UDPConn, bool) bool { return false }

func pathMTU(*net.UDPConn, bool) int { return 0 }
