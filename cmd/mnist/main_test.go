package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringrun/ringrun/elastic"
	"github.com/ringrun/ringrun/membership"
)

func TestSettingsAreChecked(t *testing.T) {
	for args, want := range map[string]string{
		"-batch 0":              "-batch 0, want at least 1",
		"-batch 8 -shard 9":     "-shard 9, want 1 to the batch of 8",
		"-shard -1":             "-shard -1",
		"-lr 0":                 "-lr 0, want more than 0",
		"-lr NaN":               "-lr NaN",
		"-epochs -1":            "-epochs -1",
		"-epochs 0":             "would never end",
		"-hidden 12,x":          `"x" is not a width`,
		"-hidden 0":             `"0" is not a width`,
		"-model cnn":            `-model "cnn", want mlp or conv`,
		"-solver sgd":           `-solver "sgd", want one of [adam momentum lars lamb]`,
		"-scale 0.5":            "-scale 0.5, want at least 1",
		"-scale 4":              "-scale is for -solver momentum, not adam",
		"somewhere":             `unexpected argument "somewhere"`,
		"-data /does/not/exist": "/does/not/exist: file does not exist: expected the file t10k-images-idx3-ubyte",
	} {
		err := run(t.Context(), strings.Fields(args), io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want it to say %q", args, err, want)
		}
	}
	s, err := parseSettings([]string{"-batch", "5", "-hidden", "512, 64"}, io.Discard)
	if err != nil || s.shard != 1 || fmt.Sprint(s.shape.hidden) != "[512 64]" {
		t.Errorf("settings %+v, error %v; want a shard of 1 and layers of 512 and 64", s, err)
	}
}

// The whole program, as a group of one: it prints a summary, saves the
// parameters that the summary's hash is of, and does the same again.
func TestRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "params")
	var first summary
	for i := range 2 {
		var out bytes.Buffer
		if err := run(t.Context(), []string{"-steps", "30", "-hidden", "16", "-save", file}, &out, io.Discard); err != nil {
			t.Fatal(err)
		}
		s := parseSummary(t, out.String())
		saved, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		hash := sha256.Sum256(saved)
		if hex.EncodeToString(hash[:]) != s.Params || len(saved) != 4*(784*16+16+16*10+10) {
			t.Errorf("%d bytes saved, SHA-256 %x; the summary says %s", len(saved), hash, s.Params)
		}
		if s.Size != 1 || s.Steps != 30 || s.Samples != 30*128 || s.Accuracy < 0.2 || s.Loss == nil || s.Seconds <= 0 {
			t.Errorf("summary %+v", s)
		}
		if i == 0 {
			first = s
		} else if s.Params != first.Params || *s.Loss != *first.Loss {
			t.Errorf("parameters %s and loss %v, in the run before %s and %v", s.Params, *s.Loss, first.Params, *first.Loss)
		}
	}
}

func parseSummary(t *testing.T, out string) summary {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	text, ok := strings.CutPrefix(lines[len(lines)-1], "summary ")
	var s summary
	if err := json.Unmarshal([]byte(text), &s); !ok || err != nil {
		t.Fatalf("output ends with %q, want summary and JSON (%v)", lines[len(lines)-1], err)
	}
	if len(lines) < 2 || !strings.HasPrefix(lines[0], "epoch 1  step ") {
		t.Errorf("no line of progress before the summary:\n%s", out)
	}
	return s
}

// Every solver learns, with a rate that ends at 0 in the last step.
func TestSolversLearn(t *testing.T) {
	for args, least := range map[string]float64{
		"-solver momentum -lr 0.02 -scale 4": 0.6,
		"-solver lars -lr 1":                 0.6,
		"-solver lamb -lr 0.02":              0.6,
	} {
		var out bytes.Buffer
		if err := run(t.Context(), strings.Fields("-steps 60 -hidden 32 "+args), &out, io.Discard); err != nil {
			t.Fatal(err)
		}
		if s := parseSummary(t, out.String()); s.Accuracy < least {
			t.Errorf("%s: accuracy %.3f, want at least %.2f", args, s.Accuracy, least)
		}
	}
}

// Any number of peers comes to the same parameters up to rounding, and all peers
// of a run to the same bits.
func TestNumberOfPeersDoesNotMatter(t *testing.T) {
	for name, sh := range map[string]shape{"mlp": {hidden: []int{12}}, "conv": {channels: []int{2, 3}, hidden: []int{12}}} {
		t.Run(name, func(t *testing.T) {
			numberOfPeersDoesNotMatter(t, settings{steps: 30, batch: 56, shard: 7, lr: 0.001, seed: 4, shape: sh})
		})
	}
}

func numberOfPeersDoesNotMatter(t *testing.T, s settings) {
	t.Helper()
	data, test := generate(s.seed, 0, 500).split(400)
	var want []float32
	for _, size := range []int{1, 2, 7} {
		results := runPeers(t, size, s, data)
		sums := make([]summary, size)
		for i, r := range results {
			var err error
			if sums[i], err = r.finish(s, test); err != nil {
				t.Fatal(err)
			}
			if sums[i].Params != sums[0].Params || sums[i].Accuracy != sums[0].Accuracy || sums[i].Samples != sums[0].Samples || sums[i].Size != size {
				t.Errorf("%d peers end with %+v and %+v", size, sums[i], sums[0])
			}
		}
		got := params(t, results[0])
		if want == nil {
			want = got
		}
		for i, x := range got {
			if d := math.Abs(float64(x - want[i])); !(d <= 1e-4*(0.01+math.Abs(float64(want[i])))) {
				t.Fatalf("%d peers: parameter %d is %v, of one peer %v", size, i, x, want[i])
			}
		}
	}
}

// With the policy that scales the batch, two peers train as one does with twice the
// batch and twice the rate, warm-up included.
func TestRateFollowsTheBatch(t *testing.T) {
	s := settings{steps: 30, batch: 56, shard: 28, lr: 0.02, solver: "momentum", scale: 2, seed: 4, shape: shape{hidden: []int{12}}}
	data, _ := generate(s.seed, 0, 500).split(400)
	want := params(t, runPeers(t, 1, s, data)[0])
	s.batch, s.scale = 28, 1
	got := params(t, runPeers(t, 2, s, data, "scale")[0])
	for i, x := range got {
		if d := math.Abs(float64(x - want[i])); !(d <= 1e-4*(0.01+math.Abs(float64(want[i])))) {
			t.Fatalf("parameter %d is %v, of one peer %v", i, x, want[i])
		}
	}
}

func params(t *testing.T, r *trained) []float32 {
	t.Helper()
	var b bytes.Buffer
	if err := r.bridge.WriteParams(&b); err != nil {
		t.Fatal(err)
	}
	out := make([]float32, b.Len()/4)
	if err := binary.Read(&b, binary.LittleEndian, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// A founder tells the others where it listens.
type founder struct{ addr chan string }

func (f founder) Write(b []byte) (int, error) {
	var e struct{ Event, Addr string }
	if err := json.Unmarshal(b, &e); err == nil && e.Event == "listening" {
		f.addr <- e.Addr
	}
	return len(b), nil
}

// runPeers trains with size peers in this process, over loopback, and maybe with a
// policy for the batch.
func runPeers(t *testing.T, size int, s settings, data *samples, policy ...string) []*trained {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	results, errs := make([]*trained, size), make([]error, size)
	addr := make(chan string, size) // one for each that joins
	var all sync.WaitGroup
	start := func(i int, m membership.Config, report io.Writer) {
		m.ID, m.Run, m.Secret = fmt.Sprintf("p%d", i), t.Name(), []byte("a secret of the test")
		all.Go(func() {
			errs[i] = elastic.Run(ctx, elastic.Config{Membership: m, Size: size, Silence: 20 * time.Second, Report: report, Batch: strings.Join(policy, "")}, func(ctx context.Context, g *elastic.Group) (err error) {
				results[i], err = train(ctx, g, s, data, io.Discard)
				return err
			})
		})
	}
	start(0, membership.Config{Found: true}, founder{addr})
	select {
	case a := <-addr:
		for i := 1; i < size; i++ {
			start(i, membership.Config{Join: []string{a}}, nil)
		}
	case <-ctx.Done():
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return results
}
