package bench

import (
	"bufio"
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ringrun/ringrun/allreduce"
)

//go:embed versus
var rivalSources embed.FS

// A Rival is somebody else's all-reduce, measured by a small program of ours
// that is built when it is asked for. It prints lines like those of a Sweep.
type Rival struct {
	Name      string // as in the peer field of its lines
	Transport string // what it may be compared with: "shm" or "tcp"

	compiler []string // what builds it; the first word must be installed
	starter  string   // must be installed as well, unless empty
	source   string
	args     func(program string, peers int) []string
	env      []string
}

func mpi(starter string, options ...string) func(string, int) []string {
	return func(program string, peers int) []string {
		args := append([]string{starter, "-np", strconv.Itoa(peers)}, options...)
		if starter == "mpirun.openmpi" {
			args = append(args, "--allow-run-as-root", "--oversubscribe")
			if peers > runtime.NumCPU() {
				args = append(args, "--mca", "mpi_yield_when_idle", "1")
			}
		}
		return append(args, program)
	}
}

func gloo(options ...string) func(string, int) []string {
	return func(program string, peers int) []string {
		return append([]string{program, "--np", strconv.Itoa(peers)}, options...)
	}
}

var (
	openMPI = []string{"mpicc.openmpi", "-O3", "-march=native"}
	mpich   = []string{"mpicc.mpich", "-O3", "-march=native"}
	gloocc  = []string{"g++", "-std=c++17", "-O3", "-march=native"}
)

const glooSource = "gloo_allreduce.cc"

// Rivals returns all that can be compared with, installed or not. Where one has
// several ways to do the same, each is a rival of its own.
func Rivals() []Rival {
	tcpOnly := []string{"--mca", "pml", "ob1", "--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", "lo"}
	ucx := []string{"--mca", "pml", "ucx", "--mca", "pml_ucx_tls", "any", "--mca", "pml_ucx_devices", "any"}
	return []Rival{
		{Name: "openmpi-shm", Transport: "shm", compiler: openMPI, starter: "mpirun.openmpi", source: "mpi_allreduce.c", args: mpi("mpirun.openmpi")},
		{Name: "openmpi-ucx-shm", Transport: "shm", compiler: openMPI, starter: "mpirun.openmpi", source: "mpi_allreduce.c", args: mpi("mpirun.openmpi", ucx...), env: []string{"UCX_TLS=self,sysv,posix,cma"}},
		{Name: "mpich-shm", Transport: "shm", compiler: mpich, starter: "mpirun.mpich", source: "mpi_allreduce.c", args: mpi("mpirun.mpich")},
		{Name: "openmpi-tcp", Transport: "tcp", compiler: openMPI, starter: "mpirun.openmpi", source: "mpi_allreduce.c", args: mpi("mpirun.openmpi", tcpOnly...)},
		{Name: "mpich-tcp", Transport: "tcp", compiler: mpich, starter: "mpirun.mpich", source: "mpi_allreduce.c", args: mpi("mpirun.mpich"), env: []string{"UCX_TLS=self,tcp", "UCX_NET_DEVICES=lo", "MPIR_CVAR_NOLOCAL=1"}},
		{Name: "gloo-ring", Transport: "tcp", compiler: gloocc, source: glooSource, args: gloo("--algo", "ring")},
		{Name: "gloo-bcube", Transport: "tcp", compiler: gloocc, source: glooSource, args: gloo("--algo", "bcube")},
		{Name: "gloo-hd", Transport: "tcp", compiler: gloocc, source: glooSource, args: gloo("--algo", "old-hd")},
		{Name: "gloo-hd-busy", Transport: "tcp", compiler: gloocc, source: glooSource, args: gloo("--algo", "old-hd", "--sync", "busy")},
	}
}

// ErrNotInstalled reports a rival that this machine does not have.
var ErrNotInstalled = errors.New("not installed")

// Build compiles the rival's program into a folder and returns its path. Without
// its compiler or library the error wraps ErrNotInstalled.
func (r Rival) Build(ctx context.Context, dir string) (program string, err error) {
	for _, tool := range []string{r.compiler[0], r.starter} {
		if _, err := exec.LookPath(tool); tool != "" && err != nil {
			return "", fmt.Errorf("%s: %w: no %s", r.Name, ErrNotInstalled, tool)
		}
	}
	files, err := rivalSources.ReadDir("versus")
	if err != nil {
		return "", err
	}
	for _, f := range files {
		text, err := rivalSources.ReadFile("versus/" + f.Name())
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name()), text, 0o644); err != nil {
			return "", err
		}
	}
	program = filepath.Join(dir, r.compiler[0]+"-"+strings.TrimSuffix(r.source, filepath.Ext(r.source)))
	if _, err := os.Stat(program); err == nil {
		return program, nil // another rival has the same
	}
	args := append(slices.Clone(r.compiler[1:]), "-o", program, filepath.Join(dir, r.source))
	if r.source == glooSource {
		args = append(args, "-lgloo", "-lpthread")
	}
	out, err := exec.CommandContext(ctx, r.compiler[0], args...).CombinedOutput()
	switch {
	case err == nil:
		return program, nil
	case bytes.Contains(out, []byte("No such file or directory")):
		return "", fmt.Errorf("%s: %w: no headers of the library", r.Name, ErrNotInstalled)
	}
	return "", fmt.Errorf("%s: build: %w\n%s", r.Name, err, out)
}

// Run measures once and returns a result per size. What it starts does not
// outlive ctx.
func (r Rival) Run(ctx context.Context, program string, peers int, s Sweep) ([]SizeResult, error) {
	s = s.withDefaults()
	sizes := make([]string, len(s.Sizes))
	for i, n := range s.Sizes {
		sizes[i] = strconv.Itoa(n)
	}
	args := append(r.args(program, peers), "--peer", r.Name, "--sizes", strings.Join(sizes, ","),
		"--rounds", strconv.Itoa(s.Rounds), "--min-time", strconv.FormatFloat(s.MinTime.Seconds(), 'f', -1, 64),
		"--max-foreign", strconv.FormatFloat(s.MaxForeign, 'f', -1, 64), "--max-tries", strconv.Itoa(s.MaxTries))
	if r.source == glooSource { // else it makes a folder of its own, which a killed one leaves behind
		store, err := os.MkdirTemp(filepath.Dir(program), "store")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(store)
		args = append(args, "--store", store)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), r.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	results, parseErr := parseResults(bytes.NewReader(out))
	for i := range results { // what it does not say: it has no choice
		l := &results[i]
		l.Count, l.Type, l.Op, l.Collective = l.Bytes/4, allreduce.Float32.String(), allreduce.Sum.String(), "allreduce"
		l.Transport, l.Codec = r.Transport, "raw"
	}
	if err != nil {
		text := strings.TrimSpace(stderr.String())
		return results, fmt.Errorf("%s: %w: %s", r.Name, err, text[max(0, len(text)-500):])
	}
	return results, parseErr
}

func parseResults(r io.Reader) ([]SizeResult, error) {
	var results []SizeResult
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if !bytes.HasPrefix(lines.Bytes(), []byte("{")) {
			continue
		}
		var s SizeResult
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			return results, fmt.Errorf("bench: %q: %w", lines.Text(), err)
		}
		results = append(results, s)
	}
	return results, lines.Err()
}

// A Comparison is one size of a contest: the medians over all turns.
type Comparison struct {
	Size   int     `json:"np"`
	Bytes  int     `json:"bytes"`
	Ours   string  `json:"ours"`
	OursUS float64 `json:"ours_us"`
	Best   string  `json:"best"` // the rival with the least median
	BestUS float64 `json:"best_us"`
	Ratio  float64 `json:"ratio"` // how many times as fast as the best rival
	Low    float64 `json:"ratio_lo"`
	High   float64 `json:"ratio_hi"` // over the turns
	Turns  int     `json:"turns"`
}

// Compare pairs our turns with those of the rivals. turns[i] are all results of
// turn i; those whose peer is ours are ours.
func Compare(ours string, turns [][]SizeResult) []Comparison {
	times := make(map[int]map[string][]float64)  // bytes, peer, one per turn in which it managed that
	ratios := make(map[int]map[string][]float64) // likewise: over ours of the same turn
	var sizes []int
	peers := 0
	for _, turn := range turns {
		mine := make(map[int]float64)
		for _, r := range turn {
			if times[r.Bytes] == nil {
				times[r.Bytes], ratios[r.Bytes] = make(map[string][]float64), make(map[string][]float64)
				sizes = append(sizes, r.Bytes)
			}
			times[r.Bytes][r.Peer] = append(times[r.Bytes][r.Peer], r.MedianUS)
			peers = r.Size
			if r.Peer == ours {
				mine[r.Bytes] = r.MedianUS
			}
		}
		for _, r := range turn {
			if us := mine[r.Bytes]; us > 0 {
				ratios[r.Bytes][r.Peer] = append(ratios[r.Bytes][r.Peer], r.MedianUS/us)
			}
		}
	}
	slices.Sort(sizes)
	var out []Comparison
	for _, size := range sizes {
		c := Comparison{Size: peers, Bytes: size, Ours: ours, OursUS: median(times[size][ours]), Turns: len(times[size][ours])}
		for peer, v := range times[size] {
			if m := median(v); peer != ours && (c.Best == "" || m < c.BestUS || m == c.BestUS && peer < c.Best) {
				c.Best, c.BestUS = peer, m
			}
		}
		single := ratios[size][c.Best]
		if len(single) == 0 { // there is no rival, or none of ours
			continue
		}
		c.Ratio, c.Low, c.High = c.BestUS/c.OursUS, slices.Min(single), slices.Max(single)
		out = append(out, c)
	}
	return out
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// CompareHeader writes the head of the table that Comparison.WriteRow fills.
func CompareHeader(w io.Writer) {
	fmt.Fprintf(w, "#%12s %12s %18s %12s %8s %17s\n", "size", "ours", "best rival", "its time", "ratio", "ratio, turns")
	fmt.Fprintf(w, "#%12s %12s %18s %12s %8s %17s\n", "(B)", "(us)", "", "(us)", "", "")
}

// WriteRow writes one line of the table.
func (c Comparison) WriteRow(w io.Writer) {
	fmt.Fprintf(w, " %12d %12s %18s %12s %8s %17s\n",
		c.Bytes, figure(c.OursUS), c.Best, figure(c.BestUS), figure(c.Ratio), figure(c.Low)+" - "+figure(c.High))
}
