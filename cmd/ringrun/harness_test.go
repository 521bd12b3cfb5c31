package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const patience = 2 * time.Minute // for what should take a moment: after that it hangs

// The test binary is ringrun itself if it is told so: what it starts again, the
// agents and guards, inherits that.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_AS_RINGRUN") != "" {
		main()
	}
	dir, err := os.MkdirTemp("", "ringrun-test")
	if err != nil {
		panic(err)
	}
	binDir = dir
	heedSignals()
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// heedSignals lets what this process starts hear of signals that are ignored here,
// as in the background of a script.
func heedSignals() {
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGHUP} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s) // a handler is not inherited
		}
	}
}

var binDir string // until all tests have ended

var buildWorker = sync.OnceValues(func() (string, error) {
	exe := filepath.Join(binDir, "worker")
	out, err := exec.Command("go", "build", "-o", exe, "./testdata/worker").CombinedOutput()
	if err != nil {
		err = &exec.Error{Name: string(out), Err: err}
	}
	return exe, err
})

// workerProg is the program in testdata/worker.
func workerProg(t testing.TB) string {
	t.Helper()
	exe, err := buildWorker()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// A stage is a place of its own for launchers: folders, environment, and a mark
// in the latter by which all their processes are known.
type stage struct {
	t    testing.TB
	dir  string // home, cache and run-time folder
	mark string
	env  []string
}

func newStage(t testing.TB) *stage {
	t.Helper()
	b := make([]byte, 8)
	rand.Read(b)
	s := &stage{t: t, dir: t.TempDir(), mark: "TEST_MARK=" + hex.EncodeToString(b)}
	s.env = append(os.Environ(),
		"TEST_AS_RINGRUN=1", s.mark, "HOME="+s.dir, "XDG_CACHE_HOME="+filepath.Join(s.dir, "cache"), "XDG_RUNTIME_DIR="+s.dir,
		"GOCACHE="+goEnv(t, "GOCACHE"), "GOMODCACHE="+goEnv(t, "GOMODCACHE"), "GOFLAGS=", "NO_COLOR=1",
		"GORACE=atexit_sleep_ms=0") // with -race every process would take a second to end
	t.Cleanup(func() { s.nothingLeft() })
	return s
}

func goEnv(t testing.TB, name string) string {
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// A launcher is a running ringrun and all that it has printed.
type launcher struct {
	*stage
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and nobody writes any more

	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed and replaced when text grows
}

func (s *stage) ringrun(args ...string) *launcher {
	s.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	return s.start(exec.Command(exe, args...))
}

func (s *stage) start(cmd *exec.Cmd) *launcher {
	s.t.Helper()
	l := &launcher{stage: s, cmd: cmd, done: make(chan struct{}), more: make(chan struct{})}
	l.cmd.Env = s.env
	l.cmd.Stdout, l.cmd.Stderr = l, l
	l.cmd.WaitDelay = 20 * time.Second
	if err := l.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		defer close(l.done)
		_ = l.cmd.Wait() // ProcessState tells
	}()
	s.t.Cleanup(func() {
		_ = l.cmd.Process.Kill()
		<-l.done
	})
	return l
}

func (l *launcher) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.more)
	l.more = make(chan struct{})
	return l.text.Write(p)
}

func (l *launcher) output() (string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String(), l.more
}

// until waits for n matches of a pattern and returns what its groups matched.
func (l *launcher) until(n int, pattern string) [][]string {
	l.t.Helper()
	re := regexp.MustCompile("(?m)" + pattern)
	late := time.After(patience)
	for {
		text, more := l.output()
		if found := re.FindAllStringSubmatch(text, -1); len(found) >= n {
			return found
		}
		select {
		case <-more:
		case <-l.done:
			if text, _ := l.output(); len(re.FindAllString(text, -1)) < n {
				l.t.Fatalf("ringrun has ended without %d lines like %q; it said:\n%s", n, pattern, text)
			}
		case <-late:
			l.t.Fatalf("no %d lines like %q; ringrun said:\n%s", n, pattern, text)
		}
	}
}

// ends waits for the end and checks the exit status; lines are patterns that the
// output must have.
func (l *launcher) ends(status int, lines ...string) string {
	l.t.Helper()
	select {
	case <-l.done:
	case <-time.After(patience):
		text, _ := l.output()
		l.t.Fatalf("ringrun does not end; it said:\n%s", text)
	}
	text, _ := l.output()
	if got := l.cmd.ProcessState.ExitCode(); got != status {
		l.t.Errorf("exit status %d, want %d; ringrun said:\n%s", got, status, text)
	}
	for _, line := range lines {
		if !regexp.MustCompile("(?m)" + line).MatchString(text) {
			l.t.Errorf("no line like %q; ringrun said:\n%s", line, text)
		}
	}
	return text
}

func (l *launcher) signal(s syscall.Signal) {
	l.t.Helper()
	if err := l.cmd.Process.Signal(s); err != nil {
		l.t.Fatal(err)
	}
}
