package main

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// An IDX file is a big-endian header and then bytes:
//
//	images  0x00000803, count, rows, columns, count·rows·columns pixels
//	labels  0x00000801, count, count labels
const (
	imagesMagic = 0x803
	labelsMagic = 0x801
)

// readData reads a directory in the layout of MNIST: the train-* files and the
// t10k-* files to test with, or, where there are only the latter, four fifths of
// them to train and the rest to test with. Files may be gzipped (.gz).
func readData(dir string) (train, test *samples, err error) {
	test, err = readSamples(dir, "t10k")
	if err != nil {
		return nil, nil, err
	}
	train, err = readSamples(dir, "train")
	if errors.Is(err, fs.ErrNotExist) && !exists(dir, "train-images-idx3-ubyte") && !exists(dir, "train-labels-idx1-ubyte") {
		train, test = test.split(test.count() * 4 / 5)
		err = nil
	}
	if err != nil {
		return nil, nil, err
	}
	if train.count() == 0 || test.count() == 0 {
		return nil, nil, fmt.Errorf("%s: %d samples to train and %d to test with, want at least one of each", dir, train.count(), test.count())
	}
	return train, test, nil
}

func readSamples(dir, part string) (*samples, error) {
	s := &samples{}
	images, err := readFile(dir, part+"-images-idx3-ubyte", func(r io.Reader) (err error) {
		s.pixels, err = parseImages(r)
		return err
	})
	if err != nil {
		return nil, err
	}
	labels, err := readFile(dir, part+"-labels-idx1-ubyte", func(r io.Reader) (err error) {
		s.labels, err = parseLabels(r)
		return err
	})
	if err != nil {
		return nil, err
	}
	if n := len(s.pixels) / imageBytes; n != len(s.labels) {
		return nil, fmt.Errorf("%s has %d labels, but %s has %d images", labels, len(s.labels), images, n)
	}
	return s, nil
}

// readFile opens dir/name, or dir/name.gz, and lets parse read it. It returns
// the path, which its errors begin with.
func readFile(dir, name string, parse func(io.Reader) error) (path string, err error) {
	path = filepath.Join(dir, name)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		path += ".gz"
		f, err = os.Open(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s: %w: expected the file %s or %s.gz", dir, fs.ErrNotExist, name, name)
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	var r io.Reader = bufio.NewReader(f)
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(r); err != nil {
			return "", fmt.Errorf("%s: not a gzip file: %w", path, err)
		}
	}
	if err := parse(r); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return path, nil
}

func exists(dir, name string) bool {
	_, plain := os.Stat(filepath.Join(dir, name))
	_, packed := os.Stat(filepath.Join(dir, name+".gz"))
	return plain == nil || packed == nil
}

func parseImages(r io.Reader) ([]byte, error) {
	h, err := parseHeader(r, imagesMagic, "images", 3)
	if err != nil {
		return nil, err
	}
	if h[1] != side || h[2] != side {
		return nil, fmt.Errorf("images are %dx%d, expected %dx%d", h[1], h[2], side, side)
	}
	return parseBody(r, h[0], imageBytes, "images")
}

func parseLabels(r io.Reader) ([]byte, error) {
	h, err := parseHeader(r, labelsMagic, "labels", 1)
	if err != nil {
		return nil, err
	}
	labels, err := parseBody(r, h[0], 1, "labels")
	if err != nil {
		return nil, err
	}
	for i, l := range labels {
		if l >= classes {
			return nil, fmt.Errorf("label %d is %d, expected 0 to %d", i, l, classes-1)
		}
	}
	return labels, nil
}

// parseHeader returns the sizes after the magic number.
func parseHeader(r io.Reader, magic uint32, what string, sizes int) ([]uint32, error) {
	b := make([]byte, 4+4*sizes)
	n, err := io.ReadFull(r, b)
	if m := binary.BigEndian.Uint32(b); n >= 4 && m != magic {
		return nil, fmt.Errorf("magic number %#08x, expected %#08x for IDX %s", m, magic, what)
	}
	if err != nil {
		return nil, fmt.Errorf("truncated: %d bytes, expected a header of %d: %w", n, len(b), err)
	}
	out := make([]uint32, sizes)
	for i := range out {
		out[i] = binary.BigEndian.Uint32(b[4+4*i:])
	}
	return out, nil
}

// parseBody reads count items and checks that nothing follows. Memory grows with
// what is there, not with what the header says.
func parseBody(r io.Reader, count uint32, size int, what string) ([]byte, error) {
	want := int64(count) * int64(size)
	b, err := io.ReadAll(io.LimitReader(r, want+1))
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	switch n := int64(len(b)); {
	case n < want:
		return nil, fmt.Errorf("truncated: %d bytes after the header, expected %d for %d %s", n, want, count, what)
	case n > want:
		return nil, fmt.Errorf("more than the %d bytes expected after the header for %d %s", want, count, what)
	}
	return b, err
}
