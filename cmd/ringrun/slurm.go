package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// slurmHosts returns the hosts of the Slurm allocation in which this process
// runs, outside of any of its steps; nil if there is none. Their agents are
// started by srun.
func slurmHosts(getenv func(string) string) ([]host, error) {
	job := getenv("SLURM_JOB_ID")
	if job == "" || getenv("SLURM_STEP_ID") != "" {
		return nil, nil
	}
	names, err := expandNodes(getenv("SLURM_JOB_NODELIST"))
	if err != nil {
		return nil, fmt.Errorf("SLURM_JOB_NODELIST of Slurm job %s: %w", job, err)
	}
	tasks := getenv("SLURM_TASKS_PER_NODE")
	if tasks == "" {
		tasks = fmt.Sprintf("1(x%d)", len(names))
	}
	slots, err := expandCounts(tasks)
	if err != nil || len(slots) != len(names) {
		return nil, fmt.Errorf("SLURM_TASKS_PER_NODE of Slurm job %s is %q, want a number for each of its %d nodes", job, tasks, len(names))
	}
	var hosts []host
	for i, name := range names {
		h := host{name: name, slots: slots[i], via: viaSlurm}
		if !validHostName(name) {
			return nil, fmt.Errorf("SLURM_JOB_NODELIST of Slurm job %s: %q is not a host name", job, name)
		}
		h.local = isLocal(h)
		hosts = append(hosts, h)
	}
	return hosts, nil
}

var errNodes = errors.New("not a list of nodes")

// maxNodes is more than any cluster has; lists that say so are broken.
const maxNodes = 1 << 17

// expandNodes reads Slurm's hostlists: "n[1-3,07],login" is n1 n2 n3 n07 login.
func expandNodes(list string) ([]string, error) {
	var names []string
	for _, part := range splitOutside(list) {
		some, err := expandNode(part)
		if err != nil {
			return nil, err
		}
		if names = append(names, some...); len(names) > maxNodes {
			return nil, fmt.Errorf("%w: more than %d", errNodes, maxNodes)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%w: it is empty", errNodes)
	}
	return names, nil
}

// splitOutside splits at the commas that do not stand in brackets.
func splitOutside(list string) []string {
	depth := 0
	return strings.FieldsFunc(list, func(r rune) bool {
		switch r {
		case '[':
			depth++
		case ']':
			depth--
		}
		return r == ',' && depth == 0
	})
}

// expandNode expands the first bracket, and then what follows it.
func expandNode(s string) ([]string, error) {
	before, rest, ok := strings.Cut(s, "[")
	if !ok {
		return []string{s}, nil
	}
	inside, after, ok := strings.Cut(rest, "]")
	if !ok {
		return nil, fmt.Errorf("%w: no ] in %q", errNodes, s)
	}
	tails, err := expandNode(after)
	if err != nil {
		return nil, err
	}
	var names []string
	for r := range strings.SplitSeq(inside, ",") {
		numbers, err := expandRange(r)
		if err != nil {
			return nil, fmt.Errorf("%w in %q", err, s)
		}
		if len(numbers)*len(tails) > maxNodes {
			return nil, fmt.Errorf("%w: more than %d", errNodes, maxNodes)
		}
		for _, n := range numbers {
			for _, t := range tails {
				names = append(names, before+n+t)
			}
		}
	}
	return names, nil
}

// expandRange reads "7" or "08-11"; numbers keep their leading zeros.
func expandRange(s string) ([]string, error) {
	lo, hi, ok := strings.Cut(s, "-")
	if !ok {
		hi = lo
	}
	a, err1 := strconv.ParseUint(lo, 10, 32)
	b, err2 := strconv.ParseUint(hi, 10, 32)
	if err := errors.Join(err1, err2); err != nil || b < a || b-a >= maxNodes {
		return nil, fmt.Errorf("%w: %q is no range of numbers", errNodes, s)
	}
	var all []string
	for n := a; n <= b; n++ {
		all = append(all, fmt.Sprintf("%0*d", len(lo), n))
	}
	return all, nil
}

// expandCounts reads "4(x2),1": 4 4 1.
func expandCounts(s string) ([]int, error) {
	var all []int
	for part := range strings.SplitSeq(s, ",") {
		count, times, repeated := strings.Cut(part, "(x")
		k := 1
		var err error
		if repeated {
			if k, err = strconv.Atoi(strings.TrimSuffix(times, ")")); err != nil || k > maxNodes {
				return nil, errNodes
			}
		}
		n, err := strconv.Atoi(count)
		if err != nil || n < 1 || k < 1 {
			return nil, errNodes
		}
		all = append(all, slices.Repeat([]int{n}, k)...)
	}
	return all, nil
}
