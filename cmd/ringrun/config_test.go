package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestConfigFile(t *testing.T) {
	s := newStage(t)
	file := filepath.Join(s.dir, "run.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("n: 2\nH: [localhost:3]\nsilence: 3s\nprogram: " + workerProg(t) + "\nargs: [-env]\n")
	s.ringrun("-config", file).ends(0, `^\[1\] RINGRUN_SILENCE=3s$`)
	text := s.ringrun("-config", file, "-n", "1", "-silence", "2s").ends(0, `^\[0\] RINGRUN_SILENCE=2s$`)
	if strings.Contains(text, "[1]") {
		t.Errorf("the command line counts less than the file:\n%s", text)
	}
	for text, want := range map[string]string{
		"n: 2\nspeed: 3\n": `line 2: there is no option "speed"`,
		"n: two\n":         `line 1: n: .*"two"`,
		"- n\n":            `want lines of the form option: value`,
		"n: {a: 1}\n":      `line 1: n: want a value or a list`,
		"n: [\n":           `yaml: line`,
		"config: x\n":      `there is no option "config"`,
		"n: 1\n":           `^ringrun: no PROG`,
	} {
		write(text)
		s.ringrun("-config", file).ends(2, want)
	}
	s.ringrun("-config", filepath.Join(s.dir, "none")).ends(2, `-config: open .*none: no such file`)
}

func TestManual(t *testing.T) {
	s := newStage(t)
	page := s.ringrun("man").ends(0)
	for _, f := range optionFlags() {
		if name := f.Names()[0]; !strings.Contains(page, `\fB-`+name+`\fP`) {
			t.Errorf("option -%s is not in the manual", name)
		}
	}
	if !strings.HasPrefix(page, ".nh\n.TH RINGRUN 1") || !strings.Contains(page, "ringrun -n 4 ./cmd/mnist") {
		t.Errorf("no manual page:\n%.300s", page)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "pwsh"} {
		s.ringrun("completion", shell).ends(0, `generate-shell-completion`)
	}
}
