package rtc

import (
	"net"

	"github.com/pion/transport/v2"
	"github.com/pion/transport/v2/stdnet"
)

// socketBytes is the receive buffer that we ask the system for; it may give
// less. The usual one holds about a hundred packets. A sender on this machine
// sends more than that in one go, and then it takes SCTP a second, its shortest
// timeout, to see that the last of them were lost.
const socketBytes = 4 << 20

// sockets opens pion's sockets, with larger buffers.
type sockets struct{ *stdnet.Net }

func newSockets() (sockets, error) {
	n, err := stdnet.NewNet()
	return sockets{n}, err
}

func (s sockets) ListenUDP(network string, addr *net.UDPAddr) (transport.UDPConn, error) {
	c, err := s.Net.ListenUDP(network, addr)
	if err == nil {
		_ = c.SetReadBuffer(socketBytes) // works with less
	}
	return c, err
}

// ListenPacket opens the sockets towards TURN servers.
func (s sockets) ListenPacket(network, addr string) (net.PacketConn, error) {
	c, err := s.Net.ListenPacket(network, addr)
	if u, ok := c.(*net.UDPConn); ok {
		_ = u.SetReadBuffer(socketBytes)
	}
	return c, err
}
