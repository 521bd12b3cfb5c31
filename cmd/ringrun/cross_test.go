package main

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var crossed = flag.Bool("cross", false, "also build ringrun for another platform and run it, which takes a minute")

// withUname gives a host another answer to uname.
func (s *stage) withUname(host, answer string) *stage {
	s.t.Helper()
	bin := filepath.Join(envOf(s, "TEST_HOSTS"), host, "bin")
	if err := os.MkdirAll(bin, 0o700); err != nil {
		s.t.Fatal(err)
	}
	system, machine, _ := strings.Cut(answer, " ")
	script := "#!/bin/sh\ncase $1 in\n-s) echo " + system + " ;;\n-m) echo " + machine + " ;;\n*) echo somewhere ;;\nesac\n"
	if err := os.WriteFile(filepath.Join(bin, "uname"), []byte(script), 0o700); err != nil {
		s.t.Fatal(err)
	}
	return s
}

func TestOtherPlatform(t *testing.T) {
	s := newStage(t).withHosts().withUname("apple", "Darwin arm64")
	s.ringrun("-H", "localhost,apple", workerProg(t)).ends(1,
		`^ringrun: host apple is darwin/arm64, and \S+/worker is for `+thisPlatform+`: give its Go code \(a folder with a main package\), `+
			`which is then built for each host, or an executable for darwin/arm64 \(ringrun doctor `)
	if _, err := os.Stat("/usr/bin/go"); err == nil {
		return // cannot be taken from PATH
	}
	ssh, _, _ := strings.Cut(envOf(s, "PATH"), ":")
	s.env = append(s.env, "PATH="+ssh+":/usr/bin:/bin")
	script := filepath.Join(s.dir, "anywhere")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.ringrun("-H", "apple", script).ends(1, `^ringrun: host apple is darwin/arm64: no go command in PATH to build ringrun for it: install Go, `+
		`or put ringrun of that platform and the same version here: \S+/ringrun-darwin-arm64 \(ringrun doctor `)
}

// Both are built for the host, and run there. The 32-bit cousin of this machine's
// processor needs no other machine.
func TestCrossBuild(t *testing.T) {
	switch {
	case thisPlatform != "linux/amd64":
		t.Skipf("%s runs no programs of another platform", thisPlatform)
	case !*crossed:
		t.Skip("without -cross")
	}
	s := newStage(t).withHosts().withUname("old", "Linux i686")
	s.ringrun("-H", "localhost,old", "./testdata/worker", "-env").ends(0,
		`^ringrun: building ./testdata/worker for linux/386$`, `^ringrun: building ringrun for linux/386$`,
		`^ringrun: copying worker .* to old$`, `^\[1\] HOME=.*/old$`)
	copies, _ := filepath.Glob(envOf(s, "TEST_HOSTS") + "/old/.cache/ringrun/*/[a-z]*")
	for _, c := range copies {
		if is, err := platformsOf(c); err != nil || !slices.Equal(is, []string{"linux/386"}) {
			t.Errorf("%s is for %s, %v", c, is, err)
		}
	}
	if len(copies) != 2 {
		t.Errorf("copies: %q, want two", copies)
	}
}

func TestPlatformsOf(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if is, err := platformsOf(self); err != nil || !slices.Contains(is, thisPlatform) {
		t.Errorf("this program is for %s, %v; want %s", is, err, thisPlatform)
	}
	for head, want := range map[string][]string{
		elfHead(62, 0): {"linux/amd64"}, elfHead(183, 0): {"linux/arm64"}, elfHead(62, 9): {"freebsd/amd64"}, elfHead(243, 3): {"linux/riscv64"},
		machoHead(0x0c): {"darwin/arm64"}, machoHead(0x07): {"darwin/amd64"},
		"#!/bin/sh\nexit\n": nil, "": nil, "\x7fELF": nil, "MZ": nil, "\xcf\xfa\xed\xfe": nil,
	} {
		file := filepath.Join(t.TempDir(), "prog")
		if err := os.WriteFile(file, []byte(head), 0o700); err != nil {
			t.Fatal(err)
		}
		if is, err := platformsOf(file); err != nil || !slices.Equal(is, want) {
			t.Errorf("%q is for %s, %v; want %s", head, is, err, want)
		}
	}
	if !fits(nil, "linux/arm64") || !fits([]string{"darwin/amd64", "darwin/arm64"}, "darwin/arm64") || fits([]string{"linux/arm64"}, "linux/amd64") {
		t.Error("what fits does not, or the reverse")
	}
}

// elfHead is the header of a 64-bit ELF file without anything else.
func elfHead(machine, abi byte) string {
	h := make([]byte, 64)
	copy(h, "\x7fELF\x02\x01\x01")
	h[7], h[16], h[18], h[20], h[52] = abi, 2, machine, 1, 64
	return string(h)
}

func machoHead(cpu byte) string {
	h := make([]byte, 32)
	copy(h, "\xcf\xfa\xed\xfe")
	h[4], h[7], h[12] = cpu, 1, 2
	return string(h)
}

func FuzzPlatformsOf(f *testing.F) {
	f.Add([]byte(elfHead(62, 0)))
	f.Add([]byte(machoHead(7)))
	f.Fuzz(func(t *testing.T, b []byte) {
		file := filepath.Join(t.TempDir(), "prog")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := platformsOf(file); err != nil {
			t.Error(err)
		}
	})
}

// The source of ringrun is found where it was built.
func TestBuiltFrom(t *testing.T) {
	dir := builtFrom()
	if _, err := os.Stat(filepath.Join(dir, "cmd", "ringrun", "cross.go")); dir == "" || err != nil {
		t.Errorf("built from %q: %v", dir, err)
	}
}
