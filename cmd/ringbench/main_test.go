package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/bench"
)

// The test binary is ringbench too: as a peer, when ringbench under test starts
// itself, and as the whole program, for what only a process can show.
const (
	asProgram = "RINGBENCH_TEST_PROGRAM" // run main
	spoil     = "RINGBENCH_TEST_SPOIL"   // the peers' results are wrong
	watch     = "RINGBENCH_TEST_WATCH"   // a socket to which a peer connects when it measures
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == peerCommand {
		os.Exit(testPeer())
	}
	if os.Getenv(asProgram) != "" {
		main()
	}
	heedSignals()
	os.Exit(m.Run())
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

func testPeer() int {
	if os.Getenv(spoil) != "" {
		return peer(func(c bench.Comm) bench.Comm { return spoiler{c} })
	}
	if address := os.Getenv(watch); address != "" {
		w := &watched{address: address}
		defer func() {
			if w.conn != nil {
				w.conn.Close()
			}
		}()
		return peer(func(c bench.Comm) bench.Comm {
			w.Comm = c
			return w
		})
	}
	return peer(nil)
}

// watched connects to the test when it is deep in a round, and says no more.
type watched struct {
	bench.Comm
	address string
	conn    net.Conn
	calls   int
}

// warm is more operations than it takes to fill 50 ms by doubling, were each to
// take only 0.1 ms.
const warm = 1100

func (w *watched) AllReduce(ctx context.Context, x allreduce.Vector, op allreduce.Op) (err error) {
	if w.calls++; w.calls == warm {
		if w.conn, err = net.Dial("unix", w.address); err != nil {
			return err
		}
	}
	return w.Comm.AllReduce(ctx, x, op)
}

// spoiler turns a bit in the last element of what rank 0 all-reduces.
type spoiler struct{ bench.Comm }

func (s spoiler) AllReduce(ctx context.Context, x allreduce.Vector, op allreduce.Op) error {
	err := s.Comm.AllReduce(ctx, x, op)
	if s.Rank() == 0 && x.Len() > 0 {
		x.Slice(x.Len()-1, x.Len()).Bytes()[x.Type().Size()-2] ^= 0x10
	}
	return err
}

// ringbench runs the program and returns what it prints and its exit status.
func ringbench(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	status = run(ctx, append([]string{"ringbench"}, args...), &out, &errs)
	return out.String(), errs.String(), status
}

var quick = []string{"-rounds", "1", "-min-time", "1ms", "-max-foreign", "100"}

func TestAllReduceTable(t *testing.T) {
	plot := filepath.Join(t.TempDir(), "sizes.svg")
	out, errs, status := ringbench(t, append([]string{"allreduce", "-n", "2", "-sizes", "4,64K", "-type", "int32", "-op", "max", "-plot", plot}, quick...)...)
	if status != 0 || errs != "" {
		t.Fatalf("status %d, says %q", status, errs)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 5 {
		t.Fatalf("%d lines, want 3 of head and 2 of results:\n%s", len(lines), out)
	}
	for _, word := range []string{"size", "count", "type", "redop", "time", "algbw", "busbw", "errors"} {
		if !strings.Contains(lines[1], word) {
			t.Errorf("no column %q in %q", word, lines[1])
		}
	}
	last := strings.Fields(lines[4])
	if last[0] != "65536" || last[1] != "16384" || last[2] != "int32" || last[3] != "max" || last[len(last)-1] != "0" {
		t.Errorf("the last line is %q", lines[4])
	}
	if b, err := os.ReadFile(plot); err != nil || !bytes.Contains(b, []byte("ringrun-auto")) {
		t.Errorf("the plot has %d bytes: %v", len(b), err)
	}
}

func TestAllReduceJSON(t *testing.T) {
	for _, transport := range []string{"auto", "shm", "tcp", "rtc"} {
		out, errs, status := ringbench(t, append([]string{"allreduce", "-n", "3", "-transport", transport, "-codec", "zstd", "-sizes", "1K", "-json"}, quick...)...)
		if status != 0 || errs != "" {
			t.Fatalf("%s: status %d, says %q", transport, status, errs)
		}
		var r map[string]any
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%s: %q is not one object: %v", transport, out, err)
		}
		for field, want := range map[string]any{"peer": "ringrun-" + transport + "-zstd", "np": 3.0, "bytes": 1024.0, "count": 256.0, "errors": 0.0, "ok": true, "rounds": 1.0} {
			if r[field] != want {
				t.Errorf("%s: %s is %v, want %v", transport, field, r[field], want)
			}
		}
		for _, field := range []string{"median_us", "min_us", "p99_us", "mean_us", "busbw_GBps", "busbw_lo", "busbw_hi", "cpu_s_per_GB", "cpu_util", "iters"} {
			if x, ok := r[field].(float64); !ok || x <= 0 {
				t.Errorf("%s: %s is %v, want a number above 0", transport, field, r[field])
			}
		}
	}
}

func TestCollectivesTable(t *testing.T) {
	for _, name := range bench.Collectives() {
		out, errs, status := ringbench(t, append([]string{name, "-n", "3", "-transport", "tcp", "-sizes", "1000"}, quick...)...)
		if status != 0 || errs != "" {
			t.Fatalf("%s: status %d, says %q", name, status, errs)
		}
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if last := strings.Fields(lines[len(lines)-1]); last[0] != "1000" || last[len(last)-1] != "0" {
			t.Errorf("%s: the last line is %q", name, lines[len(lines)-1])
		}
	}
}

func TestScale(t *testing.T) {
	plot := filepath.Join(t.TempDir(), "scale.png")
	out, errs, status := ringbench(t, "scale", "-n", "2,1", "-model", "resnet50,gpt2", "-compute", "20ms",
		"-scale", "0.001", "-steps", "2", "-rounds", "1", "-json", "-plot", plot)
	if status != 0 || errs != "" {
		t.Fatalf("status %d, says %q", status, errs)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines, want 4:\n%s", len(lines), out)
	}
	for i, line := range lines {
		var r bench.StepResult
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if r.Model != []string{"resnet50", "gpt2"}[i/2] || r.Size != 1+i%2 || !r.OK || r.ComputeMS != 20 {
			t.Errorf("line %d: %+v", i, r)
		}
		if r.StepMS < 20 || r.Efficiency <= 0 || r.BaseFrom != "measured" || r.Steps != 2 {
			t.Errorf("line %d: steps of %v ms, efficiency %v of a %s step", i, r.StepMS, r.Efficiency, r.BaseFrom)
		}
	}
	if b, err := os.ReadFile(plot); err != nil || !bytes.HasPrefix(b, []byte("\x89PNG")) {
		t.Errorf("the plot has %d bytes: %v", len(b), err)
	}
	out, _, status = ringbench(t, "scale", "-n", "1", "-compute", "2ms", "-scale", "0.001", "-steps", "1", "-rounds", "1")
	if status != 0 || !strings.Contains(out, "25557032 parameters") || !strings.Contains(out, "efficiency") {
		t.Errorf("status %d, table:\n%s", status, out)
	}
}

func TestWrongResultsAreReported(t *testing.T) {
	t.Setenv(spoil, "1")
	out, errs, status := ringbench(t, append([]string{"allreduce", "-sizes", "1K", "-json"}, quick...)...)
	var r bench.SizeResult
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Errors != 1 || r.OK {
		t.Errorf("%s: %v; want 1 error", out, err)
	}
	if status != 1 || !strings.Contains(errs, "wrong results") {
		t.Errorf("status %d, says %q", status, errs)
	}
	out, _, status = ringbench(t, append([]string{"allreduce", "-sizes", "1K"}, quick...)...)
	if row := strings.Fields(out); status != 1 || row[len(row)-1] != "1" {
		t.Errorf("status %d, table:\n%s", status, out)
	}
	if _, errs, status = ringbench(t, "scale", "-n", "2", "-compute", "2ms", "-scale", "0.001", "-steps", "1", "-rounds", "1"); status != 1 || !strings.Contains(errs, "wrong results") {
		t.Errorf("scale: status %d, says %q", status, errs)
	}
}

func TestBadInputNamesTheFlag(t *testing.T) {
	for _, tt := range []struct {
		args string
		want []string
	}{
		{"allreduce -n 0", []string{"-n:", `"0"`}},
		{"allreduce -n two", []string{"-n:", `"two"`}},
		{"allreduce -n 2,4", []string{"-n:", `"2,4"`}},
		{"allreduce -n 257", []string{"-n:", "256"}},
		{"allreduce -sizes 4,6X", []string{"-sizes:", `"6X"`}},
		{"allreduce -sizes 6", []string{"-sizes:", "multiple of 4"}},
		{"allreduce -type float64 -sizes 4", []string{"-sizes:", "multiple of 8"}},
		{"allreduce -type f32", []string{"-type:", `"f32"`, "float32"}},
		{"allreduce -op xor", []string{"-op:", `"xor"`, "product"}},
		{"allreduce -transport udp", []string{"-transport:", `"udp"`, "rtc"}},
		{"allreduce -codec int8", []string{"-codec:", `"int8"`, "half"}},
		{"allreduce -rounds 0", []string{"-rounds:"}},
		{"allreduce -rounds x", []string{"rounds"}},
		{"allreduce -min-time 0s", []string{"-min-time:"}},
		{"allreduce -max-foreign 0", []string{"-max-foreign:"}},
		{"allreduce -op and", []string{"-op:", "and", "float32"}},
		{"allreduce -op or -type bfloat16", []string{"-op:", "or", "bfloat16"}},
		{"allreduce -max-foreign NaN", []string{"-max-foreign:"}},
		{"allreduce -max-foreign +Inf", []string{"-max-foreign:"}},
		{"select -min-time -5s", []string{"-min-time:"}},
		{"select -plot x.svg", []string{"-plot"}}, // nothing would be drawn
		{"matrix -plot x.svg", []string{"-plot"}},
		{"versus -plot x.svg", []string{"-plot"}},
		{"matrix -rounds 5", []string{"-rounds"}}, // nor would this do anything
		{"matrix -codec half", []string{"-codec"}},
		{"allreduce -plot x.pdf", []string{"-plot:", `"x.pdf"`}},
		{"allreduce 64K", []string{`"64K"`}},
		{"allreduce -no-such-flag", []string{"no-such-flag"}},
		{"scale -model alexnet", []string{"-model:", `"alexnet"`, "vgg16"}},
		{"scale -compute 1us", []string{"-compute:"}},
		{"scale -scale 2", []string{"-scale:"}},
		{"scale -scale 0", []string{"-scale:"}},
		{"scale -steps 0", []string{"-steps:"}},
		{"scale -bucket 0", []string{"-bucket:"}},
		{"scale -first x", []string{"-first:"}},
		{"sing", []string{`"sing"`, "allreduce"}},
	} {
		out, errs, status := ringbench(t, strings.Fields(tt.args)...)
		if status == 0 || out != "" {
			t.Errorf("ringbench %s: status %d, prints %q", tt.args, status, out)
		}
		for _, want := range tt.want {
			if !strings.Contains(errs, want) {
				t.Errorf("ringbench %s: %q does not say %s", tt.args, errs, want)
			}
		}
	}
}

// long is a measurement that nobody waits for.
var long = []string{"allreduce", "-n", "3", "-sizes", "64K", "-min-time", "1m"}

// startWatched starts the program as a process, and returns it with a connection
// from each of its three peers, which by then are in the middle of a round.
func startWatched(t *testing.T) (*exec.Cmd, []net.Conn) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Skipf("no unix sockets here: %v", err)
	}
	defer l.Close()
	cmd := exec.Command(os.Args[0], long...)
	cmd.Env = append(os.Environ(), asProgram+"=1", watch+"="+socket)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	var peers []net.Conn
	for len(peers) < 3 {
		_ = l.SetDeadline(time.Now().Add(time.Minute))
		c, err := l.Accept()
		if err != nil {
			t.Fatalf("%d of 3 peers started: %v", len(peers), err)
		}
		t.Cleanup(func() { c.Close() })
		peers = append(peers, c)
	}
	return cmd, peers
}

// gone waits for the end of every peer.
func gone(t *testing.T, peers []net.Conn) {
	t.Helper()
	for i, c := range peers {
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("peer %d still lives: %v", i, err)
		}
	}
}

func TestKilledLauncherLeavesNoPeer(t *testing.T) {
	cmd, peers := startWatched(t)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	gone(t, peers)
}

func TestInterrupt(t *testing.T) {
	cmd, peers := startWatched(t)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	gone(t, peers)
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("interrupted: %v, want exit status 1", err)
	}
}

func TestStatusLine(t *testing.T) {
	var b bytes.Buffer
	s := &statusLine{w: &b}
	s.show("one")
	s.show("two")
	s.above(&b).Write([]byte("a line\n"))
	s.clear()
	if want := eraseLine + "one" + eraseLine + "two" + eraseLine + "a line\n"; b.String() != want {
		t.Errorf("terminal gets %q, want %q", b.String(), want)
	}
	b.Reset()
	newStatusLine(&b).show("nobody sees this")
	if b.Len() != 0 {
		t.Errorf("without a terminal: %q", b.String())
	}
}
