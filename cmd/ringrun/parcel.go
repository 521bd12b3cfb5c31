package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
)

// A parcel is a file that hosts are to have, known there by its hash.
type parcel struct {
	file string
	hash string
	size int64
}

func newParcel(file string) (parcel, error) {
	f, err := os.Open(file)
	if err != nil {
		return parcel{}, err
	}
	defer f.Close()
	h := sha256.New()
	size, err := io.Copy(h, f)
	if err != nil {
		return parcel{}, err
	}
	return parcel{file: file, hash: hex.EncodeToString(h.Sum(nil)), size: size}, nil
}

func (p parcel) name() string { return filepath.Base(p.file) }

// in is where it has its place in a cache folder.
func (p parcel) in(dir string) string { return path.Join(dir, p.hash, shellSafe(p.name())) }

// megabytes is a size for people.
func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
