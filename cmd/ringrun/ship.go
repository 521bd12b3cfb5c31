package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

const (
	stockWait = 30 * time.Second // to look for what a host has already
	stallWait = 30 * time.Second // a copy that makes no progress for so long has failed
	shipTries = 4                // of them all but the first go on where the one before was cut off
	shipPause = time.Second      // between them
)

// sumFunc is the hash of a file in the shell, or nothing where there is no
// command for it: then the length must do.
const sumFunc = `
sum() { { sha256sum "$1" || shasum -a 256 "$1"; } 2>/dev/null | cut -d " " -f 1; }
size() { wc -c < "$1" | tr -d " "; }
`

// supply makes sure that the host has some parcels, the first of which is ringrun,
// and returns where.
func (r *remote) supply(ctx context.Context, out *printer, parcels ...parcel) (at []string, err error) {
	has, err := r.stock(ctx, parcels...)
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", r.host.name, withRemedy(r.host.name, err))
	}
	unpack := "" // the host has nothing but a shell
	for i, p := range parcels {
		if !has[i] {
			if err := r.put(ctx, p, unpack, out); err != nil {
				return nil, fmt.Errorf("host %s: copy %s: %w", r.host.name, p.name(), withRemedy(r.host.name, err))
			}
		}
		at = append(at, p.in(r.dir))
		unpack = at[0] // now it has ringrun
	}
	return at, nil
}

// stock tells which parcels the host has, undamaged.
func (r *remote) stock(ctx context.Context, parcels ...parcel) ([]bool, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, stockWait, fmt.Errorf("no answer within %v", stockWait))
	defer cancel()
	script := sumFunc
	for i, p := range parcels { // what is used is not pruned
		to := quote(p.in(r.dir))
		script += fmt.Sprintf(`[ -x %s ] && touch %s/.used && echo "%shas%d $(size %s) $(sum %s)"
`, to, quote(path.Dir(p.in(r.dir))), marker, i, to, to)
	}
	said, err := r.script(ctx, nil, script+"exit 0")
	has := make([]bool, len(parcels))
	for i, p := range parcels {
		f := strings.Fields(said["has"+strconv.Itoa(i)])
		has[i] = len(f) > 0 && f[0] == fmt.Sprint(p.size) && (len(f) == 1 || f[1] == p.hash)
	}
	return has, err
}

var (
	errCutOff  = errors.New("cut off")
	errDamaged = errors.New("arrived damaged")
)

// put copies a parcel. A copy that was cut off, now or when ringrun ran before,
// goes on where it was.
func (r *remote) put(ctx context.Context, p parcel, unpack string, out *printer) error {
	for try := 1; ; try++ {
		err := r.ship(ctx, p, unpack, out)
		if err == nil || ctx.Err() != nil || try == shipTries {
			return err
		}
		var full *diskFullError
		switch {
		case errors.As(err, &full) && unpack != "" && try == 1:
			if _, err2 := r.script(ctx, nil, quote(unpack)+" _prune "+quote(r.dir)); err2 != nil {
				return err
			}
		case errors.Is(err, errCutOff), errors.Is(err, errDamaged):
			out.note("host %s: copy %s: %v; trying again", r.host.name, p.name(), err)
			if !wait(ctx, shipPause) {
				return context.Cause(ctx)
			}
		default:
			return err
		}
	}
}

// ship copies a parcel, under a name of its own first: another launcher may do
// the same, and what has the right name is whole. See shipScript.
func (r *remote) ship(ctx context.Context, p parcel, unpack string, out *printer) error {
	f, err := os.Open(p.file)
	if err != nil {
		return err
	}
	defer f.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(stallWait, func() { cancel(fmt.Errorf("%w: no progress for %v", errCutOff, stallWait)) })
	defer stall.Stop()

	cmd := r.host.shell(ctx, shipScript(p, r.dir, unpack))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	ready, ended := make(chan map[string]string, 1), make(chan struct{})
	var said sayings
	said.hear = func(key, _ string) {
		if key == "from" && len(ready) == 0 {
			ready <- maps.Clone(said.all)
		}
	}
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &stderr
	fed := make(chan error, 1)
	go func() {
		defer stdin.Close()
		select {
		case has := <-ready:
			fed <- feed(f, p, has, r.dir, stdin, out.begin(p, r.host.name, func() { stall.Reset(stallWait) }))
		case <-ended:
			fed <- nil
		}
	}()
	ran := runGuarded(cmd, r.guard)
	close(ended)
	return shipped(ctx, p, said.all, <-fed, ran, stderr.Bytes())
}

// feed sends what the host does not have yet, packed as it said.
func feed(f io.ReadSeeker, p parcel, said map[string]string, dir string, to io.Writer, c *copying) error {
	defer c.end()
	from, err := strconv.ParseInt(said["from"], 10, 64)
	if err != nil || from < 0 || from > p.size {
		return fmt.Errorf("it says to have %q of %d bytes", said["from"], p.size)
	}
	if free, ok := freeOf(said["free"]); ok && free < p.size-from+spareBytes {
		return &diskFullError{dir: dir, free: free, want: p.size - from + spareBytes}
	}
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return err
	}
	c.start(from)
	packed, err := packer(said["unpack"], to)
	if err != nil {
		return err
	}
	if _, err = io.Copy(packed, io.TeeReader(f, c)); err == nil {
		err = packed.Close()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errCutOff, err)
	}
	return nil
}

// shipped tells how a copy went, by what the host said, how feeding ended, and
// how ssh did.
func shipped(ctx context.Context, p parcel, said map[string]string, fed, ran error, stderr []byte) error {
	last := lastLine(stderr)
	if last == "" && ran != nil {
		last = ran.Error()
	}
	switch {
	case said["done"] == p.hash:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case fed != nil && !errors.Is(fed, errCutOff):
		return fed
	case said["damaged"] != "":
		return fmt.Errorf("%w: length and SHA-256 are %s, want %d %s", errDamaged, said["damaged"], p.size, p.hash)
	case diskFull(last):
		return &diskFullError{free: -1, why: last}
	case said["from"] == "": // before the first byte
		return errors.New(last)
	case last != "":
		return fmt.Errorf("%w: %s", errCutOff, last)
	}
	return errCutOff
}

// wait reports whether the time has passed; not if ctx has ended before.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
