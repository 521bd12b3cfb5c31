package lobby

import (
	"encoding/hex"
	"net"
)

// Privacy is what one end wants of a connection.
type Privacy uint8

const (
	Either Privacy = iota // encrypted, if the other end wants it
	Always                // encrypted, or there is no link
	Never                 // in the clear, or there is no link
)

// agree returns what becomes of a connection whose ends want a and b.
func agree(a, b Privacy) (encrypted, ok bool) {
	encrypted = a == Always || b == Always
	return encrypted, !encrypted || a != Never && b != Never
}

// discord says in what way the two ends do not agree; you is who hears it.
func discord(you Privacy) string {
	if you == Always {
		return "you want links encrypted, this peer wants them in the clear: use one setting of TLS everywhere"
	}
	return "you want links in the clear, this peer wants them encrypted: use one setting of TLS everywhere"
}

// A Visitor is a connection to a peer that has proved itself.
type Visitor struct {
	net.Conn
	// Encrypted reports that the two have agreed to speak TLS after the going.
	Encrypted bool
	// Name is that of this handshake, which no other has: TLS must be bound to
	// it, or somebody between the two could join the ends of two connections.
	Name string
}

func (c *Config) visitor(conn net.Conn, encrypted bool, hello, answer []byte) *Visitor {
	return &Visitor{conn, encrypted, hex.EncodeToString(c.prove("tls", hello, answer))}
}
