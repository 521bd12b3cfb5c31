package shm

import (
	"io"
	"net"

	"github.com/ringrun/ringrun/ring/internal/lobby"
	"golang.org/x/sys/unix"
)

// sendSegment makes a segment and sends it with a message.
func sendSegment(conn *net.UnixConn, kind byte, ringBytes int) (*segment, error) {
	s, fd, err := newSegment(ringBytes)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if err := sendFiles(conn, kind, fd); err != nil {
		s.unmap()
		return nil, err
	}
	return s, nil
}

// receiveSegment reads a message that must be of the given kind, and maps the
// segment that comes with it.
func receiveSegment(conn *net.UnixConn, kind byte) (*segment, error) {
	var fd [1]int
	if err := receiveFiles(conn, kind, fd[:]); err != nil {
		return nil, err
	}
	return adopt(fd[0])
}

// sendFiles sends file descriptors with a message. They remain open here.
func sendFiles(conn *net.UnixConn, kind byte, fds ...int) error {
	_, _, err := conn.WriteMsgUnix([]byte{kind, 0, 0}, unix.UnixRights(fds...), nil)
	return err
}

// receiveFiles reads a message that must be of the given kind and come with as
// many file descriptors as want has room for.
func receiveFiles(conn *net.UnixConn, kind byte, want []int) error {
	var head [lobby.HeadBytes]byte
	oob := make([]byte, unix.CmsgSpace(4*len(want))) // of more descriptors the kernel closes the rest
	n, m, _, _, err := conn.ReadMsgUnix(head[:], oob)
	fds := descriptors(oob[:m])
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err == nil {
		_, err = io.ReadFull(conn, head[n:])
	}
	if err == nil {
		_, err = lobby.ReadPayload(conn, head, kind, 0)
	}
	if err == nil && len(fds) != len(want) {
		err = lobby.ErrStranger
	}
	if err != nil {
		closeAll(fds)
		return err
	}
	copy(want, fds)
	return nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// descriptors returns the file descriptors that came with a message.
func descriptors(oob []byte) (fds []int) {
	messages, _ := unix.ParseSocketControlMessage(oob)
	for _, m := range messages {
		got, _ := unix.ParseUnixRights(&m)
		fds = append(fds, got...)
	}
	return fds
}

// release gives up a link that did not come about.
func release(conn *net.UnixConn, segments ...*segment) {
	conn.Close()
	for _, s := range segments {
		if s != nil {
			s.unmap()
		}
	}
}
