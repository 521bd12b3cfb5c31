package main

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/ringrun/ringrun/cmd/ringrun/doctor"
)

// pointToDoctor adds to an error of a start on other hosts who looks closer.
func pointToDoctor(err error, hosts []host) error {
	var sig interrupted
	if how := doctorCall(hosts); how != "" && !errors.As(err, &sig) {
		return fmt.Errorf("%w (%s looks closer)", err, how)
	}
	return err
}

// pointToDoctor says, once, who looks closer if peers on other hosts cannot come
// together.
func (j *job) pointToDoctor(p *peer) {
	how := doctorCall(j.opts.hosts)
	if how != "" && !j.pointed && strings.HasPrefix(p.why, "membership: ") {
		j.pointed = true
		j.out.note("%s looks closer at what is between them", how)
	}
}

// doctorCall is the command that examines these hosts, or nothing if they are no
// others than this one.
func doctorCall(hosts []host) string {
	var names []string
	others := false
	for _, h := range hosts {
		name := h.name
		if strings.Contains(name, ":") {
			user, addr := "", name
			if i := strings.LastIndex(name, "@"); i >= 0 {
				user, addr = name[:i+1], name[i+1:]
			}
			name = user + "[" + addr + "]"
		}
		names = append(names, name)
		others = others || !h.local
	}
	if !others {
		return ""
	}
	return "ringrun doctor -H " + strings.Join(names, ",")
}

// noAnswer is why a host that ssh may have reached is given up.
func noAnswer(h host) error {
	return &doctor.Trouble{
		Said:   fmt.Sprintf("no answer within %v", reachWait),
		Cause:  "ssh waits for something: a firewall that drops packets, a login script, or a home folder on a disk that hangs",
		Remedy: "ssh -v " + h.name + " true tells where it stops",
	}
}

// startError is why an agent does not start, from what ssh or a shell has said.
func (c *conn) startError(err error) error {
	said := c.lastWords(err)
	if t := doctor.Explain(c.host.name, said); t != nil {
		return fmt.Errorf("its agent does not start: %w", t)
	}
	return fmt.Errorf("its agent does not start: %s", said)
}

// whyNoStart says what the system means by refusing to start a program.
func whyNoStart(path string, err error) error {
	said := err.Error()
	switch {
	case strings.Contains(said, syscall.ENOEXEC.Error()):
		return fmt.Errorf("%w: it %s: build it for this host, GOOS=%s GOARCH=%s go build",
			err, format(path), runtime.GOOS, runtime.GOARCH)
	case errors.Is(err, fs.ErrPermission), strings.Contains(said, syscall.EACCES.Error()):
		return fmt.Errorf("%w: this user may not, or its file system is mounted noexec: chmod +x, or another place for it", err)
	case strings.Contains(said, syscall.ENOENT.Error()):
		return fmt.Errorf("%w: it is gone, or the interpreter or linker that it names is not on this host: build with CGO_ENABLED=0", err)
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.EAGAIN):
		return fmt.Errorf("%w: a limit of this user is reached: raise ulimit -n, -u", err)
	}
	return err
}

// format says for which processor a program is.
func format(path string) string {
	f, err := elf.Open(path)
	if err != nil {
		return "is no program for " + runtime.GOOS
	}
	defer f.Close()
	return fmt.Sprintf("is for %s, and this host is %s", strings.TrimPrefix(f.Machine.String(), "EM_"), runtime.GOARCH)
}

// enoughFiles makes sure that a worker with this environment is not stopped by
// its limit of open files in the middle of a run.
func enoughFiles(env []string) error {
	peers := 1
	for _, v := range env {
		if n, ok := strings.CutPrefix(v, "RINGRUN_EXPECT="); ok {
			peers, _ = strconv.Atoi(n)
		}
	}
	limit, need := doctor.FileLimit(), doctor.FilesFor(peers)
	if limit == 0 || limit >= need {
		return nil
	}
	return fmt.Errorf("a process may open only %d files and sockets here, and one of %d peers needs about %d: raise the hard limit (ulimit -Hn, limits.conf, LimitNOFILE=)", limit, peers, need)
}
