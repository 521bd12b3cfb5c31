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
	"syscall"
	"time"
)

const (
	meetWait  = 60 * time.Second       // for the file of task 0
	meetCheck = 100 * time.Millisecond // between looks: a network file system tells nobody
	meetLooks = 20                     // that do not find it any more, until it is gone
)

// A slurmStep is this process's part of "srun ringrun PROG": Slurm starts one
// launcher for each task, each runs one worker, and the first founds the group.
// The others learn address and secret from a file in the folder that the job was
// submitted from, which only this user can read and all nodes share. It is there from
// the start, without an address, so that they know that the folder is the right one:
// the founder may be built, and read its data, for long.
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
	name := fmt.Sprintf(".ringrun-%s.%s", shellSafe(job), shellSafe(id))
	if n := getenv("SLURM_RESTART_COUNT"); n != "" { // a job that is requeued keeps its numbers
		name += "." + shellSafe(n)
	}
	file, err := filepath.Abs(filepath.Join(dir, name))
	return &slurmStep{rank: rank, size: size, nodes: nodes, file: file}, err
}

// others are the nodes but this one.
func (s *slurmStep) others() []string {
	return slices.DeleteFunc(slices.Clone(s.nodes), func(n string) bool { return isLocal(host{name: n}) })
}

// tell writes the record of the founder, which the others await; remove undoes it.
// Without an address it says that there will be one.
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

// meet waits for the founder's address: a while for its file, and then as long as that
// is there.
func (s *slurmStep) meet(ctx context.Context) (record, error) {
	look, patience := time.NewTicker(meetCheck), time.NewTimer(meetWait)
	defer look.Stop()
	defer patience.Stop()
	for seen, missed := false, 0; ; {
		rec, err := s.read()
		switch {
		case err == nil && rec.Addr != "":
			return rec, nil
		case err == nil:
			seen, missed = true, 0
			patience.Stop()
		case !errors.Is(err, fs.ErrNotExist):
			return rec, fmt.Errorf("the record of Slurm's task 0: %w", err)
		case seen:
			if missed++; missed == meetLooks {
				return rec, errors.New("task 0 of the Slurm step has ended before anybody could join it")
			}
		}
		select {
		case <-look.C:
		case <-patience.C:
			return rec, fmt.Errorf("task 0 of the Slurm step has not written %s within %v: is that folder shared by all nodes?", s.file, meetWait)
		case <-ctx.Done():
			return rec, context.Cause(ctx)
		}
	}
}

// read returns the record, if there is one of this user.
func (s *slurmStep) read() (rec record, err error) {
	f, err := os.Open(s.file)
	if err != nil {
		return rec, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return rec, err
	}
	if owner, ok := st.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Getuid() {
		return rec, fmt.Errorf("%s belongs to another user", s.file)
	}
	return rec, json.NewDecoder(f).Decode(&rec)
}
