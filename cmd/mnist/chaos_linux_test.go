package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/ringrun/ringrun/gorgonia_bridge/blas"
	"gorgonia.org/gorgonia"
)

// startChaos runs a script of faults on n workers; PROG stands for the program.
func startChaos(t *testing.T, n int, script string, args ...string) *job {
	t.Helper()
	file := filepath.Join(t.TempDir(), "faults")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	return startJob(t, append([]string{"chaos", "-n", strconv.Itoa(n), "-timeout", "3m", "-hang", "1m", "-script", file}, args...)...)
}

// needNamespaces skips the test where networks cannot be cut.
func needNamespaces(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	name := "partition-test-" + strconv.Itoa(os.Getpid())
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Skipf("no network namespaces here: ip netns add: %v: %s", err, out)
	}
	if err := exec.Command("ip", "netns", "del", name).Run(); err != nil {
		t.Error(err)
	}
}

// where returns the numbers of the lines of output that match.
func (j *job) where(pattern string) (at []int) {
	re := regexp.MustCompile(pattern)
	for i, line := range j.seen {
		if re.MatchString(line) {
			at = append(at, i)
		}
	}
	return at
}

// Real processes in networks of their own are cut two against two: no half goes
// on, all say why, and they go on together. chaos itself looks for a second group,
// a lost or repeated sample, and different bits.
func TestRealHalves(t *testing.T) {
	needNamespaces(t)
	j := startChaos(t, 4, "cut {p0 p1} {p2 p3} for 5s at step 10", "-silence", "1s", "PROG", "-batch", "512", "-steps", "40")
	for _, s := range j.succeed(4) {
		if s.Size != 4 {
			t.Errorf("rank %d ends among %d peers, want 4", s.Rank, s.Size)
		}
	}
	cut, healed := j.where(`^ringrun: cut`), j.where(`^ringrun: over: cut`)
	if len(cut) != 1 || len(healed) != 1 {
		t.Fatalf("no cut, or no end of it:\n%s", strings.Join(j.seen, "\n"))
	}
	for _, i := range j.where(`^ringrun: view`) {
		if cut[0] < i && i < healed[0] {
			t.Errorf("a half has gone on: %s", j.seen[i])
		}
	}
	if n := len(j.where(`no word since .* 2 of the 4 members .* this peer waits`)); n != 4 {
		t.Errorf("%d peers say that they wait, want 4:\n%s", n, strings.Join(j.seen, "\n"))
	}
}

// One of four is cut off: the three go on, and it comes back to them.
func TestRealMinority(t *testing.T) {
	needLong(t)
	needNamespaces(t)
	j := startChaos(t, 4, "cut {p0 p1 p2} {p3} for 4s at step 10", "-silence", "1s", "PROG", "-batch", "1024", "-hidden", "512,256", "-epochs", "0", "-steps", "200")
	j.until(`^ringrun: cut`)
	j.until(`^ringrun: view \d+: p0-\w+ p1-\w+ p2-\w+$`)
	j.until(`^ringrun: over: cut`)
	j.until(`^ringrun: view \d+: p0-\w+ p1-\w+ p2-\w+ p3-\w+$`)
	for _, s := range j.succeed(4) {
		if s.Size != 4 {
			t.Errorf("rank %d ends among %d peers, want 4", s.Rank, s.Size)
		}
	}
}

// Three peers are killed and three join; what is learned is what it would have
// been without. MNIST_DATA names a folder with the real digits.
func TestRealLossUnderFaults(t *testing.T) {
	const faults = `
kill p1 at step 30
join at step 50
kill p0 at step 80
join at step 100
kill p2 at step 140
join at step 160`
	losses := map[string]float64{}
	for name, script := range map[string]string{"undisturbed": "wait 1ms", "three kills and joins": faults} {
		file := filepath.Join(t.TempDir(), "params")
		args := []string{"PROG", "-steps", "300", "-save", file}
		if dir := os.Getenv("MNIST_DATA"); dir != "" {
			args = append(args, "-data", dir)
		}
		startChaos(t, 4, script, args...).succeed(4)
		losses[name] = trainingLoss(t, readFloats(t, file))
	}
	t.Logf("loss over the training data: %v", losses)
	a, b := losses["undisturbed"], losses["three kills and joins"]
	if diff := b/a - 1; diff > 0.02 || diff < -0.02 {
		t.Errorf("loss %v with faults, %v without: %+.1f %%, want at most 2 %%", b, a, 100*diff)
	}
}

// trainingLoss is the mean cross-entropy of a model over what it was trained with.
func trainingLoss(t *testing.T, params []float32) float64 {
	t.Helper()
	s, err := parseSettings(nil, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	s.data = os.Getenv("MNIST_DATA")
	data, _, err := load(s)
	if err != nil {
		t.Fatal(err)
	}
	const rows = 250
	m, err := newModel(rows, s.shape, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.params {
		params = params[copy(p.Value().Data().([]float32), params):]
	}
	m.start(gorgonia.WithEngine(blas.Engine{}))
	defer m.vm.Close()
	var sum float64
	for lo := 0; lo+rows <= data.count(); lo += rows {
		data.fill(m.xs, m.ys, sequence(lo, lo+rows))
		if err := m.vm.RunAll(); err != nil {
			t.Fatal(err)
		}
		for i, y := range m.ys {
			sum -= float64(y * m.logp.Data().([]float32)[i])
		}
		m.vm.Reset()
	}
	return sum / float64(data.count())
}
