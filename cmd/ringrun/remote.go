package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/ringrun/ringrun/cmd/ringrun/doctor"
)

const (
	reachWait = 9 * time.Second // for a host to answer at all
	shipWait  = 5 * time.Minute // for one file to arrive
)

// A remote is the part of another host that ringrun uses: a POSIX shell that ssh
// or srun reaches, and a folder to which it copies itself and the program, each under its hash.
type remote struct {
	host  host
	dir   string // absolute
	guard *guard
}

// marker begins the lines of our scripts; a login shell may say more.
const marker = "ringrun-says "

// reach makes sure that a host answers, and can run what runs here.
func reach(ctx context.Context, h host, g *guard) (*remote, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, reachWait, noAnswer(h))
	defer cancel()
	r := &remote{host: h, guard: g}
	said, err := r.script(ctx, nil, `
umask 077
d=${XDG_CACHE_HOME:-$HOME/.cache}/ringrun
mkdir -p "$d" && cd "$d" || exit 1
echo "`+marker+`os $(uname -s) $(uname -m)"
echo "`+marker+`dir $(pwd)"`)
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", h.name, err)
	}
	if r.dir = said["dir"]; !path.IsAbs(r.dir) {
		return nil, fmt.Errorf("host %s: its shell does not answer as a POSIX shell does", h.name)
	}
	if there, here := platform(said["os"]), runtime.GOOS+"/"+runtime.GOARCH; there != here {
		return nil, fmt.Errorf("host %s is %s, and a program for %s does not run there", h.name, there, here)
	}
	return r, nil
}

// platform translates what uname says into Go's words.
func platform(uname string) string {
	system, machine, _ := strings.Cut(strings.ToLower(uname), " ")
	switch {
	case machine == "x86_64":
		machine = "amd64"
	case machine == "aarch64" || machine == "armv8l":
		machine = "arm64"
	case strings.HasPrefix(machine, "armv"):
		machine = "arm"
	case machine == "i386" || machine == "i686":
		machine = "386"
	case machine == "loongarch64":
		machine = "loong64"
	}
	return system + "/" + machine
}

// sumFunc is the hash of a file in the shell, or nothing where there is no
// command for it: then the length must do.
const sumFunc = `
sum() { { sha256sum "$1" || shasum -a 256 "$1"; } 2>/dev/null | cut -d " " -f 1; }
`

// put makes sure that the host has the file and returns its path there.
func (r *remote) put(ctx context.Context, file string, note func(string, ...any)) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, shipWait, fmt.Errorf("not there within %v", shipWait))
	defer cancel()
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	size, err := io.Copy(h, f)
	if err != nil {
		return "", err
	}
	hash := hex.EncodeToString(h.Sum(nil))
	to := path.Join(r.dir, hash, shellSafe(filepath.Base(file)))
	said, err := r.script(ctx, nil, sumFunc+`[ -x `+quote(to)+` ] && echo "`+marker+`sum $(sum `+quote(to)+`)"; exit 0`)
	if err == nil && said["sum"] == hash {
		return to, nil
	}
	if err == nil {
		note("copying %s (%.1f MB) to %s", filepath.Base(file), float64(size)/1e6, r.host.name)
		err = r.ship(ctx, f, to, hash, size)
	}
	if err != nil {
		return "", fmt.Errorf("host %s: copy %s: %w", r.host.name, filepath.Base(file), err)
	}
	return to, nil
}

// ship copies to a name of its own first: another launcher may do the same, and
// what has the right name is whole.
func (r *remote) ship(ctx context.Context, f io.ReadSeeker, to, hash string, size int64) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	said, err := r.script(ctx, f, sumFunc+`
umask 077
to=`+quote(to)+` new=`+quote(to)+`.$$
mkdir -p `+quote(path.Dir(to))+` && cat > "$new" && chmod 700 "$new" || exit 1
echo "`+marker+`size $(wc -c < "$new" | tr -d " ")"
echo "`+marker+`sum $(sum "$new")"
mv -f "$new" "$to"`)
	if err != nil {
		return err
	}
	if said["size"] != fmt.Sprint(size) || said["sum"] != "" && said["sum"] != hash {
		return fmt.Errorf("arrived damaged: %s bytes with SHA-256 %q, want %d with %q", said["size"], said["sum"], size, hash)
	}
	return nil
}

// script runs in a POSIX shell on the host. It returns what it said: the words
// after the marker by their first word.
func (r *remote) script(ctx context.Context, stdin io.Reader, text string) (map[string]string, error) {
	cmd := r.host.shell(ctx, text)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	if err := runGuarded(cmd, r.guard); err != nil {
		return nil, shellError(ctx, r.host.name, err, stderr.Bytes())
	}
	said := map[string]string{}
	for line := range strings.Lines(stdout.String()) {
		if words, ok := strings.CutPrefix(strings.TrimSpace(line), marker); ok {
			key, value, _ := strings.Cut(words, " ")
			said[key] = value
		}
	}
	return said, nil
}

// shell runs a script on the host. It never asks for a password, nor whether a
// host key is the right one.
func (h host) shell(ctx context.Context, script string) *exec.Cmd {
	if h.via == viaSlurm { // beside other steps of the job, with one task
		return exec.CommandContext(ctx, "srun", "--overlap", "--nodes=1", "--ntasks=1", "--nodelist="+h.name,
			"--quiet", "--unbuffered", "sh", "-c", script)
	}
	return exec.CommandContext(ctx, "ssh", "-T",
		"-o", "BatchMode=yes", "-o", "ConnectTimeout=8",
		"-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3",
		h.name, "exec sh -c "+quote(script))
}

// shellError prefers what ssh or srun said, and what that means, to the fact that
// it failed.
func shellError(ctx context.Context, host string, err error, stderr []byte) error {
	if ctx.Err() == nil {
		if t := doctor.Explain(host, string(stderr)+"\n"+err.Error()); t != nil {
			return t
		}
	}
	return saidLast(ctx, err, stderr)
}

// saidLast prefers what a program said last to the fact that it failed.
func saidLast(ctx context.Context, err error, stderr []byte) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if last := lastLine(stderr); last != "" {
		return errors.New(last)
	}
	return err
}

func lastLine(b []byte) string {
	b = bytes.TrimSpace(b)
	return strings.TrimSpace(string(b[bytes.LastIndexByte(b, '\n')+1:]))
}

// inGroup starts a helper in a process group of its own, away from the
// terminal's Ctrl-C; when its context ends the whole group is killed.
func inGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = killWait
	if cmd.Cancel != nil {
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	}
}

// quote makes one word of s for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// shellSafe keeps a file name readable there, and harmless.
func shellSafe(name string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '_'
	}, name)
}
