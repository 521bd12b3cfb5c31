//go:build unix

package blackbox

import (
	"os"
	"syscall"
)

func mapFile(f *os.File) ([]byte, error) {
	return syscall.Mmap(int(f.Fd()), 0, Size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
}

func unmap(b []byte) error { return syscall.Munmap(b) }
