package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The tests in this file run the real launcher with the real program.

var built struct {
	once         sync.Once
	dir          string
	launcher, me string
	err          error
}

func TestMain(m *testing.M) {
	heedSignals()
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
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

func binaries(t *testing.T) (launcher, program string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "ringrun-test"); built.err != nil {
			return
		}
		built.launcher, built.me = filepath.Join(built.dir, "ringrun"), filepath.Join(built.dir, "mnist")
		for out, pkg := range map[string]string{built.launcher: "../ringrun", built.me: "."} {
			if b, err := exec.Command("go", "build", "-o", out, pkg).CombinedOutput(); err != nil {
				built.err = fmt.Errorf("build %s: %w\n%s", pkg, err, b)
				return
			}
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.launcher, built.me
}

// A job is a launcher at work.
type job struct {
	t     *testing.T
	cmd   *exec.Cmd
	mark  string // in the environment of all its processes
	lines chan string
	seen  []string
	said  bytes.Buffer
}

const (
	noSilence = 20 * time.Second // a -silence that is not the subject of a test
	hangTime  = 4 * time.Minute  // after which a job hangs
)

// startJob runs the launcher with these arguments; PROG among them is the program.
// Unless they say otherwise, workers that die are not started again, but by a
// command, and none is lost because the machine is busy.
func startJob(t *testing.T, args ...string) *job {
	t.Helper()
	launcher, program := binaries(t)
	command := 0
	if strings.HasPrefix(args[0], "-") {
		args = append([]string{"-restart", "never"}, args...)
	} else {
		command = 1
	}
	if !slices.Contains(args, "-silence") {
		args = slices.Insert(args, command, "-silence", noSilence.String())
	}
	for i, a := range args {
		if a == "PROG" {
			args[i] = program
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), hangTime)
	t.Cleanup(cancel)
	j := &job{t: t, mark: fmt.Sprintf("TEST_OF=%s-%d", t.Name(), time.Now().UnixNano()), lines: make(chan string, 10000)}
	j.cmd = exec.CommandContext(ctx, launcher, args...)
	j.cmd.Env = append(os.Environ(), j.mark, "XDG_CACHE_HOME="+filepath.Join(built.dir, "cache"), "XDG_RUNTIME_DIR=")
	j.cmd.Dir = t.TempDir()
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	j.cmd.Stdout, j.cmd.Stderr = w, w
	if err := j.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	go func() {
		defer close(j.lines)
		s := bufio.NewScanner(out)
		for s.Scan() {
			j.lines <- s.Text()
		}
		io.Copy(io.Discard, out)
	}()
	return j
}

// until reads output up to a line that matches.
func (j *job) until(pattern string) string {
	j.t.Helper()
	re := regexp.MustCompile(pattern)
	for line := range j.lines {
		j.seen = append(j.seen, line)
		if re.MatchString(line) {
			return line
		}
	}
	j.t.Fatalf("the output ended without %q:\n%s", pattern, strings.Join(j.seen, "\n"))
	return ""
}

// wait reads the rest and returns the exit status.
func (j *job) wait() int {
	for line := range j.lines {
		j.seen = append(j.seen, line)
	}
	_ = j.cmd.Wait() // the status says it
	return j.cmd.ProcessState.ExitCode()
}

func (j *job) summaries() []summary {
	j.t.Helper()
	var all []summary
	for _, line := range j.seen {
		if _, text, ok := strings.Cut(line, "summary "); ok {
			var s summary
			if err := json.Unmarshal([]byte(text), &s); err != nil {
				j.t.Fatalf("%q: %v", text, err)
			}
			all = append(all, s)
		}
	}
	return all
}

// succeed waits, and checks that n peers end well and alike.
func (j *job) succeed(n int) []summary {
	j.t.Helper()
	if status := j.wait(); status != 0 {
		j.t.Fatalf("status %d, want 0:\n%s", status, strings.Join(j.seen, "\n"))
	}
	all := j.summaries()
	if len(all) != n {
		j.t.Fatalf("%d summaries, want %d:\n%s", len(all), n, strings.Join(j.seen, "\n"))
	}
	for _, s := range all {
		if s.Params != all[0].Params || s.Steps != all[0].Steps {
			j.t.Errorf("rank %d ends with %s after %d steps, rank %d with %s after %d", s.Rank, s.Params, s.Steps, all[0].Rank, all[0].Params, all[0].Steps)
		}
	}
	return all
}

// processes returns the job's processes whose environment has this text.
func (j *job) processes(text string) []int {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var pids []int
	for _, d := range dirs {
		env, err := os.ReadFile(filepath.Join(d, "environ"))
		if err != nil || !bytes.Contains(env, []byte(j.mark)) || !bytes.Contains(env, []byte(text)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(d)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (j *job) kill(worker int, sig syscall.Signal) {
	j.t.Helper()
	pids := j.processes(fmt.Sprintf("RINGRUN_ID=p%d-", worker))
	if len(pids) != 1 {
		j.t.Fatalf("worker %d has processes %v, want one", worker, pids)
	}
	if err := syscall.Kill(pids[0], sig); err != nil {
		j.t.Fatal(err)
	}
}

var long = flag.Bool("long", false, "all tests with real processes, not only some of each kind")

// within reports what took longer than it may. Without -long only what waits for
// silence, or hangs, is wrong: other tests take their time as well.
func within(t *testing.T, took, most time.Duration) {
	t.Helper()
	if !*long {
		most = noSilence * 3 / 4
	}
	if took > most {
		t.Errorf("that took %v, want at most %v", took, most)
	}
}

func needLong(t *testing.T) {
	t.Helper()
	if !*long {
		t.Skip("without -long")
	}
}

// Whoever is killed, the others go on within a second and end alike.
func TestRealKill(t *testing.T) {
	for _, tt := range []struct {
		n, victim int
		transport string
		long      bool
	}{{4, 0, "tcp", false}, {4, 3, "tcp", true}, {3, 1, "tcp", true}, {2, 0, "tcp", true}, {2, 1, "tcp", false},
		{4, 2, "shm", false}, {2, 0, "shm", true}, {3, 1, "auto", false}, {3, 0, "rtc", true}} {
		t.Run(fmt.Sprintf("%s/n=%d/victim=%d", tt.transport, tt.n, tt.victim), func(t *testing.T) {
			if tt.long {
				needLong(t)
			}
			j := startJob(t, "-n", strconv.Itoa(tt.n), "-transport", tt.transport, "PROG", "-steps", "500")
			j.until(`step \d+`)
			j.kill(tt.victim, syscall.SIGKILL)
			at := time.Now()
			j.until(fmt.Sprintf(`view 3: %d peer.*p%d`, tt.n-1, tt.victim))
			within(t, time.Since(at), time.Second)
			for _, s := range j.succeed(tt.n - 1) {
				if s.Size != tt.n-1 {
					t.Errorf("rank %d sees %d peers at the end, want %d", s.Rank, s.Size, tt.n-1)
				}
			}
			doors := strings.Count(strings.Join(j.seen, "\n"), "one more peer: ringrun -join")
			if want := map[bool]int{true: 2, false: 1}[tt.victim == 0]; doors != want { // others could join at p0's address
				t.Errorf("told %d times how to join, want %d", doors, want)
			}
		})
	}
}

// A worker that starts later takes part and ends with the same parameters.
func TestRealJoin(t *testing.T) {
	j := startJob(t, "-n", "2", "PROG", "-steps", "1500")
	line := j.until(`-join \S+:\d+`)
	addr := regexp.MustCompile(`-join (\S+:\d+)`).FindStringSubmatch(line)[1]
	j.until(`step \d+`)
	late := startJob(t, "-n", "1", "-join", addr, "PROG", "-steps", "1500")
	first := j.succeed(2)
	joined := late.succeed(1)
	if joined[0].Params != first[0].Params {
		t.Errorf("the latecomer ends with %s, the others with %s", joined[0].Params, first[0].Params)
	}
	if joined[0].Size != 3 {
		t.Errorf("the latecomer sees %d peers, want 3", joined[0].Size)
	}
}

// A peer that is stopped is left out; when it goes on, it joins again, at the
// address where others may look for it.
func TestRealStop(t *testing.T) {
	for _, victim := range []int{0, 2} {
		t.Run(fmt.Sprintf("victim=%d", victim), func(t *testing.T) {
			if victim == 2 {
				needLong(t)
			}
			j := startJob(t, "-n", "3", "-silence", "2s", "PROG", "-steps", "2000")
			addr := regexp.MustCompile(`-join (\S+:\d+)`).FindStringSubmatch(j.until(`-join \S+:\d+`))[1]
			j.until(`step \d+`)
			j.kill(victim, syscall.SIGSTOP)
			j.until(`view \d+: 2 peers`)
			j.kill(victim, syscall.SIGCONT)
			j.until(`view \d+: 3 peers`)
			late := startJob(t, "-n", "1", "-join", addr, "PROG", "-steps", "2000")
			first := j.succeed(3)
			joined := late.succeed(1)
			if joined[0].Params != first[0].Params {
				t.Errorf("the latecomer ends with %s, the others with %s", joined[0].Params, first[0].Params)
			}
		})
	}
}

// A peer that was left out goes on when the others have done all steps: they wait
// for it, and it ends with what they have.
func TestRealBackInTime(t *testing.T) {
	needLong(t)
	j := startJob(t, "-n", "3", "-silence", "1s", "PROG", "-steps", "300")
	j.until(`step \d+`)
	j.kill(2, syscall.SIGSTOP)
	j.until(`all 300 steps are done; waiting some seconds for p2`)
	j.kill(2, syscall.SIGCONT)
	j.succeed(3)
}

// One that goes on when the others have ended learns that the run is over: it ends
// well, saves nothing, and says so.
func TestRealTooLate(t *testing.T) {
	needLong(t)
	file := filepath.Join(t.TempDir(), "params")
	j := startJob(t, "-n", "3", "PROG", "-steps", "300", "-save", file)
	j.until(`step \d+`)
	j.kill(2, syscall.SIGSTOP)
	j.until(`summary`)
	j.until(`summary`)
	j.kill(2, syscall.SIGCONT)
	j.until(`worker 2 comes when the run has ended`)
	if status := j.wait(); status != 0 {
		t.Fatalf("status %d, want 0:\n%s", status, strings.Join(j.seen, "\n"))
	}
	all := j.summaries()
	if len(all) != 3 || all[0].Params != all[1].Params || all[0].Drained || all[1].Drained || !all[2].Drained {
		t.Errorf("ends %+v, want two alike and one that has left before", all)
	}
	if saved := readFloats(t, file); hashOf(saved) != all[0].Params {
		t.Errorf("what is saved is not what the run has ended with")
	}
	if len(j.where(`^ringrun: done: 2 of 3 workers finished$`)) != 1 {
		t.Errorf("not told that two of three have finished:\n%s", strings.Join(j.seen, "\n"))
	}
}

func hashOf(params []float32) string {
	h := sha256.New()
	_ = binary.Write(h, binary.LittleEndian, params) // a hash takes all
	return hex.EncodeToString(h.Sum(nil))
}

// A peer that gets no CPU for a moment stays where it is.
func TestRealPause(t *testing.T) {
	const silence = 5 * time.Second
	j := startJob(t, "-n", "3", "-silence", silence.String(), "PROG", "-steps", "800")
	j.until(`step \d+`)
	for _, worker := range []int{1, 0} {
		j.kill(worker, syscall.SIGSTOP)
		<-time.After(silence * 3 / 10)
		j.kill(worker, syscall.SIGCONT)
	}
	for _, s := range j.succeed(3) {
		if s.Epoch != 2 {
			t.Errorf("rank %d ends in view %d, want 2: nobody was to be left out", s.Rank, s.Epoch)
		}
	}
}

// The number of peers changes the order of additions and nothing else.
func TestRealSizes(t *testing.T) {
	var want []float32
	for _, n := range []string{"1", "2", "4", "7"} {
		file := filepath.Join(t.TempDir(), "params")
		j := startJob(t, "-n", n, "PROG", "-steps", "100", "-batch", "256", "-save", file)
		k, _ := strconv.Atoi(n)
		j.succeed(k)
		got := readFloats(t, file)
		if want == nil {
			want = got
		}
		var diff, norm float64
		for i := range want {
			diff += math.Pow(float64(got[i]-want[i]), 2)
			norm += math.Pow(float64(want[i]), 2)
		}
		if rel := math.Sqrt(diff / norm); rel > 1e-4 {
			t.Errorf("%s peers: parameters differ from those of 1 by %g of their norm, want at most 1e-4", n, rel)
		}
	}
}

func readFloats(t *testing.T, file string) []float32 {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, len(b)/4)
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return x
}

// The same peers do the same twice, over any transport; every codec keeps the
// peers equal.
func TestRealTransportsAndCodecs(t *testing.T) {
	params := make(map[string]string)
	for _, how := range []string{"-transport=tcp", "-transport=tcp ", "-transport=shm", "-transport=auto", "-transport=rtc", "-codec=half", "-codec=zstd"} {
		j := startJob(t, "-n", "3", strings.TrimSpace(how), "PROG", "-steps", "40")
		params[how] = j.succeed(3)[0].Params
	}
	want := params["-transport=tcp"]
	for _, how := range []string{"-transport=tcp ", "-transport=shm", "-transport=auto", "-transport=rtc", "-codec=zstd"} {
		if params[how] != want {
			t.Errorf("%s ends with %s, want %s as over tcp", how, params[how], want)
		}
	}
	if params["-codec=half"] == want {
		t.Error("-codec=half ends with the very bits of raw: it did nothing")
	}
}

func TestRealDifferentModels(t *testing.T) {
	j := startJob(t, "-n", "1", "PROG", "-epochs", "300")
	addr := regexp.MustCompile(`-join (\S+:\d+)`).FindStringSubmatch(j.until(`-join \S+:\d+`))[1]
	j.until(`step \d+`)
	at := time.Now()
	other := startJob(t, "-n", "1", "-join", addr, "PROG", "-hidden", "64", "-epochs", "300")
	if status := other.wait(); status == 0 {
		t.Errorf("status 0, want a failure")
	}
	if text := strings.Join(other.seen, "\n"); !strings.Contains(text, "(784, 64)") || !strings.Contains(text, "(784, 128)") || !strings.Contains(text, "w0") {
		t.Errorf("the error does not name the parameter and both shapes:\n%s", text)
	}
	within(t, time.Since(at), 10*time.Second)
	j.cmd.Process.Signal(os.Interrupt)
	j.wait()
}
