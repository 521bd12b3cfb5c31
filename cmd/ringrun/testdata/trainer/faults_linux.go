package main

import (
	"context"
	"os"

	"golang.org/x/sys/unix"
)

// pageIn touches pages that are on the disk only, one by one, until ctx ends.
func pageIn(ctx context.Context, name string) error {
	const pages = 4096
	if err := os.WriteFile(name, make([]byte, pages*4096), 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil { // only clean pages can be dropped
		return err
	}
	sum := byte(0)
	for ctx.Err() == nil {
		if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
			return err
		}
		b, err := unix.Mmap(int(f.Fd()), 0, pages*4096, unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			return err
		}
		if err := unix.Madvise(b, unix.MADV_RANDOM); err != nil { // no reading ahead
			return err
		}
		for i := 0; i < len(b) && ctx.Err() == nil; i += 4096 {
			sum += b[i]
		}
		if err := unix.Munmap(b); err != nil {
			return err
		}
	}
	_ = sum
	return ctx.Err()
}
