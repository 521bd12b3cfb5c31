package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/ringrun/ringrun/cmd/ringrun/doctor"
)

const reachWait = 9 * time.Second // for a host to answer at all

// A remote is the part of another host that ringrun uses: a POSIX shell that ssh
// or srun reaches, and a folder to which it copies itself and the program, each under its hash.
type remote struct {
	host     host
	dir      string // absolute
	platform string // as Go calls it: linux/arm64
	guard    *guard
}

// on is the platform; without a remote, this one.
func (r *remote) on() string {
	if r == nil {
		return thisPlatform
	}
	return r.platform
}

// marker begins the lines of our scripts; a login shell may say more.
const marker = "ringrun-says "

// reach makes sure that a host answers, and that there is a folder for copies:
// cache, or its user's cache folder.
func reach(ctx context.Context, h host, cache string, g *guard) (*remote, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, reachWait, noAnswer(h))
	defer cancel()
	r := &remote{host: h, guard: g}
	folder := `"${XDG_CACHE_HOME:-$HOME/.cache}/ringrun"
[ -n "$XDG_CACHE_HOME$HOME" ] || { echo "HOME is not set" >&2; exit 1; }`
	if cache != "" {
		folder = quote(cache)
	}
	said, err := r.script(ctx, nil, `
umask 077
d=`+folder+`
mkdir -p "$d" && cd "$d" || exit 1
echo "`+marker+`os $(uname -s) $(uname -m)"
echo "`+marker+`dir $(pwd)"`)
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", h.name, err)
	}
	if r.dir = said["dir"]; !path.IsAbs(r.dir) {
		return nil, fmt.Errorf("host %s: its shell does not answer as a POSIX shell does: ssh %s sh -c true must work; does a login script end it, or start another?", h.name, h.name)
	}
	r.platform = platform(said["os"])
	return r, nil
}

// script runs in a POSIX shell on the host. It returns what it said: the words
// after the marker by their first word.
func (r *remote) script(ctx context.Context, stdin io.Reader, text string) (map[string]string, error) {
	cmd := r.host.shell(ctx, text)
	var said sayings
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &said, &stderr
	if err := runGuarded(cmd, r.guard); err != nil {
		return nil, shellError(ctx, r.host.name, err, stderr.Bytes())
	}
	return said.all, nil
}

// sayings picks what a script says, by the marker, from all that it prints.
type sayings struct {
	all  map[string]string
	hear func(key, value string) // at once; may be nil
	line []byte                  // that has no end yet
}

func (s *sayings) Write(b []byte) (int, error) {
	s.line = append(s.line, b...)
	for {
		line, rest, ended := bytes.Cut(s.line, []byte{'\n'})
		if !ended {
			break
		}
		s.line = rest
		words, ok := strings.CutPrefix(strings.TrimSpace(string(line)), marker)
		if !ok {
			continue
		}
		if s.all == nil {
			s.all = map[string]string{}
		}
		key, value, _ := strings.Cut(words, " ")
		s.all[key] = value
		if s.hear != nil {
			s.hear(key, value)
		}
	}
	if len(s.line) > maxLine { // not one of ours
		s.line = nil
	}
	return len(b), nil
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

// shellWord quotes what a shell would not take as it is.
func shellWord(s string) string {
	plain := strings.Map(func(r rune) rune {
		if strings.ContainsRune("/:=,+@%", r) {
			return -1
		}
		return r
	}, s)
	if s == "" || shellSafe(plain) != plain {
		return quote(s)
	}
	return s
}

// shellSafe keeps a file name readable there, and harmless.
func shellSafe(name string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '_'
	}, name)
}
