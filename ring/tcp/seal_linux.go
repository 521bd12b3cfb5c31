package tcp

import (
	"errors"
	"os"
	"syscall"
)

// transmit sends what was encrypted, and when all of that is sent, the next part
// of what is left. It reports whether that was the rest of the frame.
func (s *seal) transmit(fd int, left *[2][]byte) (done bool, err error) {
	if s.pipe.empty() {
		room := sealBytes
		for i := range left {
			part := left[i][:min(len(left[i]), room)]
			if len(part) == 0 {
				continue
			}
			if _, err := s.Write(part); err != nil {
				return false, err
			}
			left[i] = left[i][len(part):]
			room -= len(part)
		}
	}
	if no := s.pipe.flush(fd); no != 0 {
		return false, no
	}
	return s.pipe.empty() && advance(left, 0), nil
}

func (p *pipe) empty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.out) == 0
}

// flush sends what the window takes of what is collected.
func (p *pipe) flush(fd int) syscall.Errno {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, no := transfer(syscall.SYS_SENDTO, fd, p.out[p.sent:], now)
	if no != 0 {
		return no
	}
	if p.sent += n; p.sent == len(p.out) {
		p.out, p.sent = p.out[:0], 0
	}
	return 0
}

// draw reads what is here, perhaps nothing.
func (s *seal) draw(p []byte) (int, error) {
	n, err := s.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return n, err
}
