package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ringrun/ringrun/elastic/blackbox"
)

const (
	fetchWait = 30 * time.Second // for the boxes of one host
	fetchMost = 256 << 20        // bytes of them
)

// fetch adds what other hosts have kept of a run that is over. A host that cannot be
// asked is named; what the rest have is still worth a look.
func (e *evidence) fetch(ctx context.Context, hosts []host, run string) error {
	g, err := startGuard()
	if err != nil {
		return err
	}
	defer g.close()
	tmp, err := os.MkdirTemp("", "ringrun-boxes-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	dirs, errs := make([]string, len(hosts)), make([]error, len(hosts))
	var asking sync.WaitGroup
	for i, h := range hosts {
		if !h.local { // the folder here is read in any case
			dirs[i] = filepath.Join(tmp, strconv.Itoa(i))
			asking.Go(func() { errs[i] = fetchBoxes(ctx, h, run, dirs[i], g) })
		}
	}
	asking.Wait()
	for i, h := range hosts {
		if errs[i] == nil && !h.local {
			errs[i] = e.read(dirs[i], "host "+h.name)
		}
		if errs[i] != nil {
			e.lack = append(e.lack, fmt.Sprintf("host %s: %v", h.name, errs[i]))
		}
	}
	return nil
}

// boxScript prints the files of a run, each after a line with its name and length.
const boxScript = `
cd "${XDG_STATE_HOME:-$HOME/.local/state}/ringrun/"RUN/` + boxesDir + ` 2>/dev/null || { echo "` + marker + `none"; exit 0; }
for f in *; do
	[ -f "$f" ] || continue
	echo "` + marker + `file $(wc -c <"$f") $f"
	cat "$f"
	echo
done
echo "` + marker + `end"`

// fetchBoxes copies the folder of a run from a host to one here.
func fetchBoxes(ctx context.Context, h host, run, dir string, g *guard) error {
	ctx, cancel := context.WithTimeoutCause(ctx, fetchWait, fmt.Errorf("its black boxes have not come within %v", fetchWait))
	defer cancel()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	var stderr bytes.Buffer
	out, in := io.Pipe()
	cmd := h.shell(ctx, strings.Replace(boxScript, "RUN", quote(run), 1))
	cmd.Stdout, cmd.Stderr = in, &stderr
	unpacked := make(chan error, 1)
	go func() {
		err := unpackBoxes(io.LimitReader(out, fetchMost), dir)
		unpacked <- err
		_, _ = io.Copy(io.Discard, out) // so that whoever writes comes to its end
	}()
	ran := runGuarded(cmd, g)
	in.Close()
	err := <-unpacked
	if ran != nil {
		return shellError(ctx, h.name, ran, stderr.Bytes())
	}
	return err
}

var (
	errNoBoxes  = errors.New("it has no black boxes of that run")
	errCutBoxes = errors.New("its black boxes came only in part")
)

// unpackBoxes writes the files that boxScript prints. A login shell may say more
// before.
func unpackBoxes(r io.Reader, dir string) error {
	for br := bufio.NewReader(r); ; {
		line, err := br.ReadString('\n')
		if err != nil {
			return errCutBoxes
		}
		words, ours := strings.CutPrefix(strings.TrimSpace(line), marker)
		what, rest, _ := strings.Cut(words, " ")
		switch {
		case !ours:
		case what == "none":
			return errNoBoxes
		case what == "end":
			return nil
		case what == "file":
			if err := unpackBox(br, rest, dir); err != nil {
				return err
			}
		}
	}
}

func unpackBox(br *bufio.Reader, head, dir string) error {
	size, name, _ := strings.Cut(strings.TrimSpace(head), " ")
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil || n < 0 || n > blackbox.MaxSize || name == "" || name != filepath.Base(name) || name == ".." {
		return fmt.Errorf("%w: a file %q", errCutBoxes, head)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(br, b); err != nil {
		return errCutBoxes
	}
	return os.WriteFile(filepath.Join(dir, name), b, 0o600)
}
