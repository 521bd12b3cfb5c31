package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// A Torch is PyTorch on this machine: a Python that has it, and our script.
type Torch struct {
	Python  string
	Version string
	script  string
}

// FindTorch looks for a Python that can import torch, and writes the script to a
// folder. If there is none, the error wraps ErrNotInstalled.
func FindTorch(ctx context.Context, dir string, pythons ...string) (*Torch, error) {
	var tried []string
	for _, python := range append(pythons, "python3", "/usr/bin/python3") {
		if python == "" {
			continue
		}
		out, err := torchCommand(ctx, python, "-c", "import torch; print(torch.__version__)").Output()
		if err != nil {
			tried = append(tried, python)
			continue
		}
		text, err := rivalSources.ReadFile("versus/torch_train.py")
		if err != nil {
			return nil, err
		}
		t := &Torch{Python: python, Version: strings.TrimSpace(string(out)), script: filepath.Join(dir, "torch_train.py")}
		return t, os.WriteFile(t.script, text, 0o644)
	}
	return nil, fmt.Errorf("torch: %w: none of %s imports it (Debian: python3-torch and libopenblas0-pthread)",
		ErrNotInstalled, strings.Join(tried, ", "))
}

// torchCommand runs Python with one thread for each library, and with the kernels
// that the library itself chooses for this processor.
func torchCommand(ctx context.Context, python string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, python, args...)
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "OPENBLAS_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1", "MKL_NUM_THREADS=1", "GLOO_SOCKET_IFNAME=lo")
	return cmd
}

// Train runs the same training as Perceptron, with DistributedDataParallel if
// there are several peers. What it starts does not outlive ctx.
func (t *Torch) Train(ctx context.Context, p Perceptron, peers int) (TrainResult, error) {
	p = p.WithDefaults()
	dir, err := os.MkdirTemp(filepath.Dir(t.script), "store")
	if err != nil {
		return TrainResult{}, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(ctx) // one that fails ends the others
	defer cancel()
	outs, errs := make([][]byte, peers), make([]error, peers)
	var all sync.WaitGroup
	for rank := range peers {
		all.Go(func() {
			if outs[rank], errs[rank] = t.run(ctx, p, rank, peers, filepath.Join(dir, "store")); errs[rank] != nil {
				cancel()
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return TrainResult{}, err
	}
	var r TrainResult
	if err := json.Unmarshal(outs[0], &r); err != nil {
		return TrainResult{}, fmt.Errorf("torch: said %q: %w", outs[0], err)
	}
	return r, nil
}

func (t *Torch) run(ctx context.Context, p Perceptron, rank, peers int, store string) ([]byte, error) {
	widths := make([]string, len(p.Widths))
	for i, w := range p.Widths {
		widths[i] = strconv.Itoa(w)
	}
	number := func(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
	cmd := torchCommand(ctx, t.Python, t.script, "--widths", strings.Join(widths, ","), "--batch", strconv.Itoa(p.Batch),
		"--seconds", number(p.Time.Seconds()), "--warmup", strconv.Itoa(p.Warmup), "--rate", number(p.Rate),
		"--rank", strconv.Itoa(rank), "--world", strconv.Itoa(peers), "--store", store)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		text := strings.TrimSpace(stderr.String())
		return nil, fmt.Errorf("torch, rank %d: %w: %s", rank, err, text[max(0, len(text)-500):])
	}
	return bytes.TrimSpace(out), nil
}
