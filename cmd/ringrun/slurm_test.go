package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestExpandNodes(t *testing.T) {
	for list, want := range map[string]string{
		"n1":                "n1",
		"n[1-3,07],login":   "n1 n2 n3 n07 login",
		"r[1-2]n[08-10]x":   "r1n08x r1n09x r1n10x r2n08x r2n09x r2n10x",
		"a,b[3]":            "a b3",
		"":                  "not a list of nodes: it is empty",
		"n[1-":              `not a list of nodes: no ] in "n[1-"`,
		"n[3-1]":            `not a list of nodes: "3-1" is no range of numbers in "n[3-1]"`,
		"n[a]":              `not a list of nodes: "a" is no range of numbers in "n[a]"`,
		"n[0-999999]":       `not a list of nodes: "0-999999" is no range of numbers in "n[0-999999]"`,
		"n[0-999]x[0-9999]": "not a list of nodes: more than 131072",
	} {
		got, err := expandNodes(list)
		text := strings.Join(got, " ")
		if err != nil {
			text = err.Error()
		}
		if text != want {
			t.Errorf("%q: %s; want %s", list, text, want)
		}
	}
	if got, err := expandCounts("4(x2),1"); err != nil || !reflect.DeepEqual(got, []int{4, 4, 1}) {
		t.Errorf("4(x2),1: %v, %v", got, err)
	}
	for _, s := range []string{"", "x", "0", "2(x", "2(x0)", "2(x999999999)"} {
		if got, err := expandCounts(s); err == nil {
			t.Errorf("%q: %v, want an error", s, got)
		}
	}
}

func FuzzExpandNodes(f *testing.F) {
	f.Add("n[1-3,07],login")
	f.Add("]],[")
	f.Fuzz(func(t *testing.T, list string) {
		if names, err := expandNodes(list); err == nil && (len(names) == 0 || len(names) > maxNodes) {
			t.Errorf("%q: %d names", list, len(names))
		}
	})
}

// withSlurm gives the stage an srun for which every name is a node.
func (s *stage) withSlurm(env ...string) *stage {
	s.t.Helper()
	bin := s.t.TempDir()
	script, err := filepath.Abs("testdata/srun")
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.Symlink(script, filepath.Join(bin, "srun")); err != nil {
		s.t.Fatal(err)
	}
	s.env = append(s.env, "PATH="+bin+":"+os.Getenv("PATH"), "TEST_HOSTS="+s.t.TempDir(), "SLURM_JOB_ID=7")
	s.env = append(s.env, env...)
	return s
}

func TestSlurmAllocation(t *testing.T) {
	s := newStage(t).withSlurm("SLURM_JOB_NODELIST=n[1-2]", "SLURM_TASKS_PER_NODE=2,1")
	s.ringrun(workerProg(t), "-env").ends(0, `^\[0\] HOME=.*/n1$`, `^\[1\] HOME=.*/n1$`, `^\[2\] HOME=.*/n2$`)
	s.ringrun("-H", "localhost:2", workerProg(t), "-env").ends(0, `^\[1\] HOME=`)
	down := newStage(t).withSlurm("SLURM_JOB_NODELIST=n1,down")
	down.ringrun(workerProg(t)).ends(1, `^ringrun: host down: srun: error: Required node not available`)
}

func TestSlurmStep(t *testing.T) {
	dir := t.TempDir()
	var tasks []*launcher
	for i := range 3 {
		s := newStage(t).withSlurm("SLURM_STEP_ID=0", "SLURM_STEP_NUM_TASKS=3", "SLURM_STEP_NODELIST=localhost",
			fmt.Sprint("SLURM_PROCID=", i), "SLURM_SUBMIT_DIR="+dir)
		if i == 0 {
			s.ringrun("-detach", workerProg(t)).ends(2, `^ringrun: -detach: Slurm ends what a task of a step leaves behind`)
		}
		tasks = append(tasks, s.ringrun(workerProg(t), "-polite"))
	}
	for _, l := range tasks {
		l.until(1, `^ringrun: view 2: 3 peers$`)
		if st, err := os.Stat(filepath.Join(dir, ".ringrun-7.0")); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("the founder's record: %v, %v", st, err)
		}
	}
	for _, l := range tasks {
		l.signal(syscall.SIGTERM)
	}
	for _, l := range tasks {
		l.ends(128 + int(syscall.SIGTERM))
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// The others meet task 0 however long it takes to listen, once its file is there;
// when that goes, it has ended.
func TestSlurmMeet(t *testing.T) {
	env := map[string]string{"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1",
		"SLURM_STEP_NODELIST": "localhost", "SLURM_SUBMIT_DIR": t.TempDir()}
	step := func() *slurmStep {
		s, err := findStep(func(name string) string { return env[name] })
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := step()
	remove, err := s.tell("", []byte("the secret"))
	if err != nil {
		t.Fatal(err)
	}
	met := make(chan string, 1)
	meet := func() {
		rec, err := s.meet(t.Context())
		met <- fmt.Sprintf("%s %s %v", rec.Addr, rec.Secret, err)
	}
	go meet()
	select {
	case got := <-met:
		t.Fatalf("met %s before there was an address", got)
	case <-time.After(3 * meetCheck):
	}
	if _, err = s.tell("10.0.0.1:7", []byte("the secret")); err != nil {
		t.Fatal(err)
	}
	if got := <-met; got != "10.0.0.1:7 the secret <nil>" {
		t.Errorf("met %s", got)
	}
	if _, err = s.tell("", []byte("the secret")); err != nil {
		t.Fatal(err)
	}
	go meet()
	time.AfterFunc(3*meetCheck, remove)
	if got := <-met; !strings.HasSuffix(got, "has ended before anybody could join it") {
		t.Errorf("met %s after task 0 had ended", got)
	}

	env["SLURM_RESTART_COUNT"] = "1"
	if again := step(); again.file == s.file {
		t.Errorf("a job that was requeued reads %s, too, which may be left from before", s.file)
	}
}
