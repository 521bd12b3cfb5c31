package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A setup is broken in one way. Within setupTime ringrun ends with an error, and
// says what is wrong and what to do.
type setup struct {
	name  string
	slow  bool // only with -long
	begin func(t *testing.T) *launcher
	see   string // in the output, and in docs/operating.md
	do    string // in the output: the remedy
	also  string // in the output
}

const setupTime = 15 * time.Second

func TestBrokenSetups(t *testing.T) {
	t.Parallel()
	var stories []story
	for _, b := range slices.Concat(brokenOptions, brokenPrograms, brokenRuns, brokenHosts) {
		if b.slow && !*long {
			continue
		}
		stories = append(stories, story{b.name, b.check})
	}
	atOnce(t, stories)
}

func (b setup) check(t *testing.T) {
	began := time.Now()
	l := b.begin(t)
	select {
	case <-l.done:
	case <-time.After(patience):
		text, _ := l.output()
		t.Fatalf("ringrun does not end; it said:\n%s", text)
	}
	took := time.Since(began)
	text, _ := l.output()
	status := l.cmd.ProcessState.ExitCode()
	within(t, took, setupTime)
	if status == 0 || !strings.Contains(text, b.see) || !strings.Contains(text, b.do) || !strings.Contains(text, b.also) {
		t.Errorf("exit status %d, want another than 0, with %q, %q and %q; ringrun said:\n%s", status, b.see, b.do, b.also, text)
	}
}

// What users may see is explained in the manual.
func TestSetupsAreInTheManual(t *testing.T) {
	manual, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Concat(brokenOptions, brokenPrograms, brokenRuns, brokenHosts, brokenSSH)
	for _, b := range all {
		if !strings.Contains(string(manual), b.see) {
			t.Errorf("%s: docs/operating.md does not have %q", b.name, b.see)
		}
	}
	if len(all) < 25 {
		t.Errorf("%d broken set-ups, want 25 or more", len(all))
	}
}

// with starts ringrun with these arguments.
func with(args ...string) func(*testing.T) *launcher {
	return func(t *testing.T) *launcher { return newStage(t).ringrun(args...) }
}

// in starts a shell script, in which $RINGRUN is ringrun and $WORKER and $TRAINER are
// programs.
func in(script string) func(*testing.T) *launcher {
	return func(t *testing.T) *launcher { return newStage(t).script(script) }
}

func (s *stage) script(script string) *launcher {
	s.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	for name, value := range map[string]string{"RINGRUN": exe, "WORKER": workerProg(s.t), "TRAINER": trainerProg(s.t)} {
		s.env = append(s.env, name+"="+value)
	}
	return s.start(exec.Command("/bin/sh", "-c", script))
}

func tempFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return name
}

var brokenOptions = []setup{
	{name: "hostfile with a bad line", see: "want slots=N", do: "after the name of the host",
		begin: func(t *testing.T) *launcher {
			return with("-hostfile", tempFile(t, "a slots=2\nb gpus=2\n", 0o600), "true")(t)
		}},
	{name: "same host twice", see: "is named twice", do: "name it once, with all its slots", begin: with("-H", "a:2,b,a", "true")},
	{name: "no slots", see: "is not a number of slots", do: "1 or more", begin: with("-H", "a:0", "true")},
	{name: "more workers than slots", see: "the hosts have only 2 slots", do: "give them more", begin: with("-H", "a,b", "-n", "3", "true")},
	{name: "short secret", see: "want at least 16 bytes", do: "openssl rand -hex 32",
		begin: in(`RINGRUN_SECRET=abcd exec "$RINGRUN" "$WORKER"`)},
	{name: "short secret in a file", see: "want at least 16", do: "openssl rand -hex 32",
		begin: func(t *testing.T) *launcher {
			return with("-secret-file", tempFile(t, "sesame", 0o600), "true")(t)
		}},
	{name: "HOME is missing", see: "there is no place to build", do: "set HOME",
		begin: in(`unset HOME XDG_CACHE_HOME XDG_RUNTIME_DIR; exec "$RINGRUN" ./testdata/worker`)},
	{name: "few open files", see: "a process may open only", do: "raise the hard limit",
		begin: in(`ulimit -n 40; exec "$RINGRUN" -n 2 "$WORKER"`)},
	{name: "port is taken", see: "is taken by another process", do: "choose another port",
		begin: func(t *testing.T) *launcher {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			return with("-n", "2", "-port", strconv.Itoa(l.Addr().(*net.TCPAddr).Port), trainerProg(t))(t)
		}},
	{name: "address of another machine", see: "is no address of this host", do: "bind one that it has",
		begin: in(`RINGRUN_FOUND=1 RINGRUN_SECRET=` + strings.Repeat("ab", 32) + ` RINGRUN_BIND=203.0.113.77:0 exec "$TRAINER"`)},
	{name: "name of the founder is unknown", see: "cannot be resolved", do: "nowhere.invalid",
		begin: in(`RINGRUN_JOIN=nowhere.invalid:4000 RINGRUN_SECRET=` + strings.Repeat("ab", 32) + ` exec "$TRAINER"`)},
}

var brokenPrograms = []setup{
	{name: "program is not there", see: "no such program", do: "is the path right", begin: with("./no/such/program")},
	{name: "program is not executable", see: "is not executable", do: "chmod +x",
		begin: func(t *testing.T) *launcher { return with(tempFile(t, "x", 0o600))(t) }},
	{name: "program for another processor", see: "or an executable for linux/", do: "give its Go code",
		begin: func(t *testing.T) *launcher { return with(tempFile(t, foreignProgram(), 0o700))(t) }},
	{name: "program is a text", see: "exec format error", do: "build it for this host",
		begin: func(t *testing.T) *launcher { return with(tempFile(t, "x", 0o700))(t) }},
	{name: "interpreter is not there", see: "it is gone, or the interpreter", do: "CGO_ENABLED=0",
		begin: func(t *testing.T) *launcher { return with(tempFile(t, "#!/no/such/interpreter\n", 0o700))(t) }},
	{name: "Go code does not compile", see: "does not build", do: "correct what the compiler says above", begin: with("./testdata/broken")},
	{name: "program ends without a word", see: "ended before it could be joined", do: "does it call elastic.Run?", begin: with("-n", "2", "true")},
	{name: "program never joins", see: "has not called elastic.Run", do: "Ctrl-C ends it",
		begin: func(t *testing.T) *launcher {
			l := with("-n", "2", workerProg(t), "-mute")(t)
			l.until(1, "has not called elastic.Run")
			l.signal(syscall.SIGINT)
			return l
		}},
}

// foreignProgram is the head of a program for a processor that nobody has here:
// a 64-bit one of the Fujitsu VPP500.
func foreignProgram() string {
	h := make([]byte, 64)
	copy(h, "\x7fELF\x02\x01\x01")
	h[16], h[18], h[20], h[52] = 2, 17, 1, 64 // EXEC, EM_VPP500, version, size
	return string(h)
}

var brokenRuns = []setup{
	{name: "nobody listens", see: "nobody answers there", do: "is the address right", begin: with("-join", "127.0.0.1:1", "true")},
	{name: "nobody listens, and the secret is known", see: "no process listens there", do: "is the address right", slow: true,
		begin: in(`RINGRUN_SECRET=` + strings.Repeat("ab", 32) + ` exec "$RINGRUN" -join 127.0.0.1:1 "$TRAINER"`)},
	{name: "another program listens", see: "it takes the connection and says nothing", do: "is that a ringrun peer's address",
		begin: func(t *testing.T) *launcher { return joinWith(t, answering(t, "")) }},
	{name: "a web server listens", see: "it is not a ringrun peer", do: `it said "HTTP/1.1`,
		begin: func(t *testing.T) *launcher { return joinWith(t, answering(t, "HTTP/1.1 400 Bad Request\r\n\r\n")) }},
	{name: "another version", see: "use one build of ringrun everywhere", do: "it speaks version 9",
		begin: func(t *testing.T) *launcher { return joinWith(t, answering(t, "RINGRUN\x09\x04\x00\x00")) }},
	{name: "its secret is not known here", see: "its secret is needed", do: "ringrun ticket",
		begin: func(t *testing.T) *launcher { return newStage(t).ringrun("-join", founder(t).addr, trainerProg(t)) }},
	{name: "wrong secret", see: "check the address, and that both have the same secret", do: "RINGRUN_RUN",
		begin: func(t *testing.T) *launcher { return joinWith(t, founder(t).addr) }},
	{name: "garbled ticket", see: "not a whole ticket", do: "copy all of it",
		begin: func(t *testing.T) *launcher {
			return newStage(t).ringrun("-join", "ringrun-ticket-eyJyIjoiOTk", trainerProg(t))
		}},
	{name: "expired ticket", see: "the ticket has expired", do: "ask for a new one",
		begin: func(t *testing.T) *launcher {
			return newStage(t).ringrun("-join", founder(t).ticket("1ns"), trainerProg(t))
		}},
	{name: "ticket of a run that is over", see: "nobody takes the ticket", do: "that peer still running?",
		begin: func(t *testing.T) *launcher {
			f := founder(t)
			ticket := f.ticket("1h")
			f.stop()
			return newStage(t).ringrun("-join", ticket, trainerProg(t))
		}},
	{name: "run is over", see: "nobody answers there", do: "does that run still go on",
		begin: func(t *testing.T) *launcher {
			f := founder(t)
			f.stop()
			return f.ringrun("-join", f.addr, trainerProg(t))
		}},
	{name: "another model", see: "the model is", do: "the same program and options",
		begin: func(t *testing.T) *launcher {
			f := founder(t, "-model", "small")
			return f.ringrun("-join", f.addr, trainerProg(t), "-model", "large")
		}},
	{name: "another data set", see: "peers disagree about the samples", do: "the same data set",
		begin: func(t *testing.T) *launcher {
			f := founder(t, "-data", "1000")
			return f.ringrun("-join", f.addr, trainerProg(t), "-data", "1001")
		}},
}

// joinWith joins with some secret.
func joinWith(t *testing.T, addr string) *launcher {
	secret := tempFile(t, strings.Repeat("cd", 32), 0o600)
	return newStage(t).ringrun("-secret-file", secret, "-join", addr, trainerProg(t))
}

// answering listens, and says the same to all as soon as they say something.
func answering(t *testing.T, words string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1000))
			_, _ = c.Write([]byte(words))
			_, _ = c.Read(make([]byte, 1)) // until they go
			c.Close()
		}
	}()
	return l.Addr().String()
}

// A foundation is a run that others may want to join.
type foundation struct {
	*stage
	run  *launcher
	addr string
}

func founder(t *testing.T, args ...string) foundation {
	t.Helper()
	s := newStage(t)
	l := s.ringrun(append([]string{"-n", "1", trainerProg(t)}, args...)...)
	return foundation{s, l, l.until(1, `-join (\S+) `)[0][1]}
}

func (f foundation) ticket(good string) string {
	f.t.Helper()
	text := f.ringrun("ticket", "-for", good).ends(0)
	ticket, _, _ := strings.Cut(text[strings.Index(text, "ringrun-ticket-"):], "\n")
	return ticket
}

func (f foundation) stop() {
	f.t.Helper()
	f.ringrun("stop").ends(0)
	f.run.ends(0)
}

var brokenHosts = []setup{
	{name: "login hangs", see: "no answer within 9s", do: "ssh -v silent true", begin: onHosts("silent")},
	{name: "login script starts another shell", see: "does not answer as a POSIX shell does", do: "ssh chatty sh -c true", begin: onHosts("chatty")},
	{name: "disk full there", see: "are needed: make room there", do: "-cache DIR", begin: onDisk("size=1m")},
	{name: "folder read-only there", see: "the file system of its cache folder cannot be written", do: "remount,rw", begin: onDisk("ro")},
	{name: "folder noexec there", see: "is mounted noexec", do: "remount,exec", begin: onDisk("noexec")},
	{name: "no home there", see: "that user has no home folder there", do: "-cache DIR", begin: onHosts("homeless")},
	{name: "shared memory between hosts", see: "transport shm does not reach so far", do: "auto does", slow: true,
		begin: func(t *testing.T) *launcher {
			return newStage(t).withNetwork(newNetwork(t)).ringrun("-H", "a,b", "-transport", "shm", trainerProg(t), "-steps", "5")
		}},
	{name: "firewall between hosts", see: "no other host reaches host a", do: "does a firewall let TCP through", also: "ringrun doctor -H a,b looks closer", slow: true,
		begin: func(t *testing.T) *launcher {
			n := newNetwork(t)
			n.on("r", "route add blackhole 10.77.1.2/32")
			return newStage(t).withNetwork(n).ringrun("-H", "a,b", trainerProg(t))
		}},
}

// onHosts starts a worker on one of the hosts of testdata/ssh.
func onHosts(name string) func(*testing.T) *launcher {
	return func(t *testing.T) *launcher { return newStage(t).withHosts().ringrun("-H", name, workerProg(t)) }
}

// onDisk starts a worker on a host whose cache folder is on a disk of its own.
func onDisk(options string) func(*testing.T) *launcher {
	return func(t *testing.T) *launcher {
		s := newStage(t).withHosts()
		dir := filepath.Join(envOf(s, "TEST_HOSTS"), "disk", ".cache")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		flags := uintptr(0)
		switch options {
		case "ro":
			flags, options = syscall.MS_RDONLY, ""
		case "noexec":
			flags, options = syscall.MS_NOEXEC, ""
		}
		if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
			t.Skip("mounting needs root:", err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
		return s.ringrun("-H", "disk", workerProg(t))
	}
}
