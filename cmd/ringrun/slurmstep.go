package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

const (
	meetWait  = 60 * time.Second       // for task 0 to say where it listens
	meetCheck = 100 * time.Millisecond // between looks: a network file system tells nobody
)

// A slurmStep is this process's part of "srun ringrun PROG": Slurm starts one
// launcher for each task, each runs one worker, and the first founds the group.
// The others learn address and secret from a file in the folder that the job was
// submitted from, which only this user can read and all nodes share.
type slurmStep struct {
	rank, size int
	nodes      []string
	file       string
}

// findStep returns nil outside of a step, and in one of a single task.
func findStep(getenv func(string) string) (*slurmStep, error) {
	job, id := getenv("SLURM_JOB_ID"), getenv("SLURM_STEP_ID")
	if job == "" || id == "" {
		return nil, nil
	}
	tasks := getenv("SLURM_STEP_NUM_TASKS")
	if tasks == "" {
		tasks = getenv("SLURM_NTASKS")
	}
	size, err1 := strconv.Atoi(tasks)
	rank, err2 := strconv.Atoi(getenv("SLURM_PROCID"))
	if err := errors.Join(err1, err2); err != nil || rank < 0 || rank >= size {
		return nil, fmt.Errorf("Slurm step %s.%s: task %q of %q, which makes no sense (SLURM_PROCID, SLURM_STEP_NUM_TASKS)",
			job, id, getenv("SLURM_PROCID"), tasks)
	}
	if size == 1 {
		return nil, nil
	}
	nodes, err := expandNodes(getenv("SLURM_STEP_NODELIST"))
	if err != nil {
		return nil, fmt.Errorf("SLURM_STEP_NODELIST of Slurm step %s.%s: %w", job, id, err)
	}
	dir := getenv("SLURM_SUBMIT_DIR")
	if dir == "" {
		dir = "."
	}
	file, err := filepath.Abs(filepath.Join(dir, fmt.Sprintf(".ringrun-%s.%s", shellSafe(job), shellSafe(id))))
	return &slurmStep{rank: rank, size: size, nodes: nodes, file: file}, err
}

// others are the nodes but this one.
func (s *slurmStep) others() []string {
	return slices.DeleteFunc(slices.Clone(s.nodes), func(n string) bool { return isLocal(host{name: n}) })
}

// tell writes the record of the founder, which the others await; remove undoes it.
func (s *slurmStep) tell(addr string, secret []byte) (remove func(), err error) {
	f, err := os.CreateTemp(filepath.Dir(s.file), filepath.Base(s.file)) // mode 0600
	if err != nil {
		return nil, err
	}
	err = json.NewEncoder(f).Encode(record{Addr: addr, Secret: secret})
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), s.file)
	}
	if err != nil {
		os.Remove(f.Name())
		return nil, err
	}
	return func() { os.Remove(s.file) }, nil
}

// meet waits for the founder's record.
func (s *slurmStep) meet(ctx context.Context) (record, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, meetWait,
		fmt.Errorf("task 0 of the Slurm step has not written %s within %v: is that folder shared by all nodes?", s.file, meetWait))
	defer cancel()
	look := time.NewTicker(meetCheck)
	defer look.Stop()
	for {
		var rec record
		text, err := os.ReadFile(s.file)
		if err == nil {
			if err = json.Unmarshal(text, &rec); err == nil {
				return rec, nil
			}
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return rec, fmt.Errorf("the record of Slurm's task 0: %w", err)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return rec, context.Cause(ctx)
		}
	}
}
