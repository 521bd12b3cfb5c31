package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A text is a sequence of symbols: the characters (bytes) that its first part
// has, and one more for all others.
type text struct {
	train, test []byte // symbols
	alphabet    []byte // the character of each symbol but the last
	sum         uint32 // CRC-32 of the characters learned
}

// unknown stands for characters that are not in the alphabet.
func (t *text) unknown() int { return len(t.alphabet) }

// symbols is how many different ones there are.
func (t *text) symbols() int { return len(t.alphabet) + 1 }

// newText splits characters into those to learn and, from there on, those to be
// tested with.
func newText(chars []byte, learn int) (*text, error) {
	if len(chars) < learn+minTest {
		return nil, fmt.Errorf("a text of %d bytes, want %d to learn and %d to test with; see -bytes", len(chars), learn, minTest)
	}
	var seen [256]bool
	for _, c := range chars[:learn] {
		seen[c] = true
	}
	t := &text{sum: crc32.ChecksumIEEE(chars[:learn])}
	var symbol [256]byte
	for c, s := range seen {
		if s {
			symbol[c] = byte(len(t.alphabet))
			t.alphabet = append(t.alphabet, byte(c))
		}
	}
	if len(t.alphabet) == 256 {
		return nil, errors.New("the text has all 256 bytes: it is not a text")
	}
	for c, s := range seen {
		if !s {
			symbol[c] = byte(t.unknown())
		}
	}
	encoded := make([]byte, len(chars))
	for i, c := range chars {
		encoded[i] = symbol[c]
	}
	t.train, t.test = encoded[:learn], encoded[learn:]
	return t, nil
}

const (
	minTest = 1 << 10
	maxTest = 16 << 10
)

// load reads the text that the settings want.
func load(ctx context.Context, s settings) (*text, error) {
	path := s.text
	if path == "" {
		root, err := goRoot(ctx)
		if err != nil {
			return nil, err
		}
		path = filepath.Join(root, "src")
	}
	chars, err := read(path, s.bytes+maxTest)
	if err != nil {
		return nil, err
	}
	return newText(chars, s.bytes)
}

// goRoot asks the toolchain where it is.
func goRoot(ctx context.Context) (string, error) {
	if root := os.Getenv("GOROOT"); root != "" {
		return root, nil
	}
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	root := strings.TrimSpace(string(out))
	if err != nil || root == "" {
		return "", fmt.Errorf("go env GOROOT: %w; is Go installed here? -text takes any other text", err)
	}
	return root, nil
}

// enough stops a walk.
var enough = errors.New("enough")

// read returns the first bytes of a file, or of a folder's Go files, in order.
// Tests and test data are left out, as are files that are generated tables.
func read(path string, limit int) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		b, err := os.ReadFile(path)
		return b[:min(len(b), limit)], err
	}
	var out []byte
	err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == "vendor" || d.Name() == "cmd"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if bytes.Contains(b[:min(len(b), 1<<10)], []byte("DO NOT EDIT")) {
			return nil
		}
		if out = append(out, b...); len(out) >= limit {
			return enough
		}
		return nil
	})
	if err != nil && !errors.Is(err, enough) {
		return nil, err
	}
	return out[:min(len(out), limit)], nil
}

// samples is how many predictions the learned part offers.
func (t *text) samples(context int) int { return len(t.train) - context }

// fill writes the predictions with the given numbers into the rows of a batch:
// what comes before a character, and the character as a one-hot label. The rows
// that are left have no label, so that they add nothing to the loss.
func (s shape) fill(symbols []byte, x []int, y []float32, numbers []int) {
	clear(x)
	clear(y)
	for row, n := range numbers {
		for i, c := range symbols[n : n+s.context] {
			x[row*s.context+i] = int(c)
		}
		y[row*s.symbols+int(symbols[n+s.context])] = 1
	}
}
