package elastic

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// ErrCheckpoint reports a file that is no checkpoint, is damaged, or belongs to
// another model or another data set.
var ErrCheckpoint = errors.New("elastic: not a usable checkpoint")

// A checkpoint is a file
//
//	+--------+-----------------+----------------+----------------+
//	| "RRCK" | version, uint32 | length, uint32 | header, JSON   |
//	+--------+-----------------+----------------+----------------+
//	| the saved state, as it travels between peers (see progress) |
//	+-------------------------------------------------------------+
//	| SHA-256 of all the above                                    |
//	+-------------------------------------------------------------+
//
// with integers little-endian. Its name is that of its lineage and the steps in
// it: "1b2c3d4e-000000000300.ckpt". It appears under this name when it is on disk
// as a whole; before, it has a name that begins with a dot and ends in ".tmp".
type header struct {
	Steps uint64
	Bytes int64 // in the saved state
	lineage

	head int64 // bytes before the state, in a file that was read
}

// A lineage says of what training a checkpoint is. The number of peers and how
// they share the work may change, as may when training ends.
type lineage struct {
	Count  int    // samples in the data set
	Seed   uint64 // of their order
	Digest []byte // of the model: see Group.SetDigest
}

const (
	fileMagic   = "RRCK"
	fileVersion = 1
	fileHead    = len(fileMagic) + 8
	maxHeader   = 64 << 20
)

var fileName = regexp.MustCompile(`^([0-9a-f]{8})-([0-9]{12,20})\.ckpt$`)

func (l lineage) name() string {
	b, err := json.Marshal(l)
	if err != nil {
		panic(fmt.Sprintf("elastic: lineage %+v: %v", l, err)) // numbers and bytes
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:4])
}

func (h header) name() string { return fmt.Sprintf("%s-%012d.ckpt", h.lineage.name(), h.Steps) }

// encode returns what stands before the state.
func (h header) encode() []byte {
	b, err := json.Marshal(h)
	if err != nil {
		panic(fmt.Sprintf("elastic: header %+v: %v", h, err))
	}
	head := binary.LittleEndian.AppendUint32([]byte(fileMagic), fileVersion)
	return append(binary.LittleEndian.AppendUint32(head, uint32(len(b))), b...)
}

func refusedFile(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrCheckpoint}, args...)...)
}

// readHeader reads up to where the state begins.
func readHeader(r io.Reader) (header, error) {
	var head [fileHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return header{}, refusedFile("it ends within its first %d bytes", fileHead)
	}
	if string(head[:4]) != fileMagic {
		return header{}, refusedFile("it begins with %q, want %q", head[:4], fileMagic)
	}
	if v := binary.LittleEndian.Uint32(head[4:]); v != fileVersion {
		return header{}, refusedFile("version %d, this is version %d", v, fileVersion)
	}
	n := int64(binary.LittleEndian.Uint32(head[8:]))
	if n > maxHeader {
		return header{}, refusedFile("a header of %d bytes, at most %d", n, maxHeader)
	}
	b, err := io.ReadAll(io.LimitReader(r, n)) // memory grows with what is there
	if err != nil {
		return header{}, err
	}
	var h header
	if int64(len(b)) < n {
		return header{}, refusedFile("it ends in its header")
	}
	if err := json.Unmarshal(b, &h); err != nil {
		return header{}, refusedFile("its header: %v", err)
	}
	if h.Bytes < 0 || h.Count < 0 {
		return header{}, refusedFile("a state of %d bytes, %d samples", h.Bytes, h.Count)
	}
	h.head = int64(fileHead) + n
	return h, nil
}

// verify reads a whole checkpoint of so many bytes and checks its sum.
func verify(r io.Reader, size int64) (header, error) {
	sum := sha256.New()
	in := io.TeeReader(r, sum)
	h, err := readHeader(in)
	if err != nil {
		return header{}, err
	}
	if rest := size - h.head - sha256.Size; rest != h.Bytes {
		return header{}, refusedFile("%d bytes of state, want %d", max(rest, 0), h.Bytes)
	}
	if _, err := io.CopyN(io.Discard, in, h.Bytes); err != nil {
		return header{}, refusedFile("it ends in the state: %v", err)
	}
	return h, checkSum(r, sum)
}

func checkSum(r io.Reader, sum hash.Hash) error {
	want := sum.Sum(nil)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil {
		return refusedFile("it ends in its sum")
	}
	if !bytes.Equal(got, want) {
		return refusedFile("its SHA-256 is %x, it says %x", want, got)
	}
	return nil
}

// copied is a checkpoint in memory.
type copied struct {
	header header
	pieces [][]byte
}

// write lets the file appear in a folder as a whole, and stay there when the power
// fails a moment later.
func (c copied) write(dir string) (path string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	name := c.header.name()
	f, err := os.CreateTemp(dir, "."+name+".*.tmp")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := c.writeTo(f); err != nil {
		return "", err
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return "", err
	}
	path = filepath.Join(dir, name)
	if err := os.Rename(f.Name(), path); err != nil {
		return "", err
	}
	return path, syncDir(dir)
}

func (c copied) writeTo(w io.Writer) error {
	sum := sha256.New()
	both := io.MultiWriter(w, sum)
	for _, b := range append([][]byte{c.header.encode()}, c.pieces...) {
		if _, err := both.Write(b); err != nil {
			return err
		}
	}
	_, err := w.Write(sum.Sum(nil))
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// writable makes a folder if need be, and says why nothing can be written there.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".try.*.tmp")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// stored is a checkpoint in a folder, by its name.
type stored struct {
	path    string
	lineage string
	steps   uint64
}

// list returns the checkpoints in a folder, the most advanced first. A folder that
// does not exist has none.
func list(dir string) ([]stored, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var all []stored
	for _, e := range entries {
		m := fileName.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		if steps, err := strconv.ParseUint(m[2], 10, 64); err == nil {
			all = append(all, stored{filepath.Join(dir, e.Name()), m[1], steps})
		}
	}
	slices.SortFunc(all, func(a, b stored) int { return -compareSteps(a.steps, b.steps) })
	return all, err
}

func compareSteps(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// prune removes what is older than the newest keep checkpoints up to h, and what
// writers that died have left. Files of other lineages, and those that are more
// advanced than h, which no peer could use, are not touched.
func prune(dir string, h header, keep int) error {
	all, err := list(dir)
	if err != nil {
		return err
	}
	own := h.lineage.name()
	for _, s := range all {
		if s.lineage != own || s.steps > h.Steps {
			continue
		}
		if keep--; keep < 0 {
			err = errors.Join(err, os.Remove(s.path))
		}
	}
	left, _ := filepath.Glob(filepath.Join(dir, "."+own+"-*.ckpt.*.tmp"))
	for _, path := range left {
		if filepath.Base(path) < "."+h.name() {
			err = errors.Join(err, os.Remove(path))
		}
	}
	return err
}
