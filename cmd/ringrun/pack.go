package main

import (
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// packer compresses what goes to a host, as fast as it can: at its worst, with a
// network of some gigabits per second, it costs nothing, and with a slower one it
// halves the time.
func packer(how string, w io.Writer) (io.WriteCloser, error) {
	switch how {
	case "zstd":
		return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	case "gzip":
		return gzip.NewWriterLevel(w, gzip.BestSpeed)
	case "cat":
		return asIs{w}, nil
	}
	return nil, fmt.Errorf("it wants files packed by %q", how)
}

type asIs struct{ io.Writer }

func (asIs) Close() error { return nil }

// runUnpack is the other end, where ringrun has arrived already.
func runUnpack() error {
	d, err := zstd.NewReader(os.Stdin, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	defer d.Close()
	_, err = io.Copy(os.Stdout, d)
	return err
}
