package main

import (
	"cmp"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
)

const (
	ourModule  = "github.com/ringrun/ringrun"
	ourPackage = ourModule + "/cmd/ringrun"
)

// A kit is what a host needs to take part.
type kit struct{ self, prog parcel }

// A depot has the kits for all platforms of a job.
type depot struct {
	prog  program
	guard *guard
	out   *printer

	mu   sync.Mutex // held while a kit is built, so that each is built once
	kits map[string]kit
}

// kit is what a host of a platform needs.
func (d *depot) kit(ctx context.Context, h host, on string) (kit, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if k, ok := d.kits[on]; ok {
		return k, nil
	}
	k, err := kitFor(ctx, h, on, d.prog, d.guard, d.out)
	if err == nil {
		d.kits[on] = k
	}
	return k, err
}

// kitFor finds or builds ringrun and the program for the platform of a host.
func kitFor(ctx context.Context, h host, on string, prog program, g *guard, out *printer) (kit, error) {
	exe, err := prog.build(ctx, on, g, out.note, out.raw())
	if err != nil {
		return kit{}, err
	}
	is, err := platformsOf(exe)
	if err != nil {
		return kit{}, fmt.Errorf("program %s: %w", prog.shown, err)
	}
	if !fits(is, on) {
		return kit{}, fmt.Errorf("host %s is %s, and %s is for %s: give its Go code (a folder with a main package), "+
			"which is then built for each host, or an executable for %s", h.name, on, prog.shown, strings.Join(is, ", "), on)
	}
	var k kit
	if k.self, err = selfFor(ctx, h, on, prog, g, out); err == nil {
		k.prog, err = newParcel(exe)
	}
	return k, err
}

// selfFor is ringrun for the platform of a host.
func selfFor(ctx context.Context, h host, on string, prog program, g *guard, out *printer) (parcel, error) {
	self, err := os.Executable()
	if err != nil {
		return parcel{}, fmt.Errorf("find ringrun itself: %w", err)
	}
	if on != thisPlatform {
		if self, err = ringrunFor(ctx, on, self, prog, g, out); err != nil {
			return parcel{}, fmt.Errorf("host %s is %s: %w", h.name, on, err)
		}
	}
	return newParcel(self)
}

// ringrunFor returns ringrun for another platform: from beside this one, or built
// from its source.
func ringrunFor(ctx context.Context, on, self string, prog program, g *guard, out *printer) (string, error) {
	beside := filepath.Join(filepath.Dir(self), "ringrun-"+strings.ReplaceAll(on, "/", "-"))
	if _, err := os.Stat(beside); err == nil {
		return beside, sameVersion(beside, on)
	}
	gotool, err := exec.LookPath("go")
	if err != nil {
		return "", fmt.Errorf("no go command in PATH to build ringrun for it: install Go, or put ringrun of that platform and the same version here: %s", beside)
	}
	dir, err := ourSource(ctx, gotool, prog, g)
	if err != nil {
		return "", fmt.Errorf("to build ringrun for it its source is needed: %w; put ringrun of that platform and the same version here instead: %s", err, beside)
	}
	exe, err := goBuild{
		gotool: gotool, dir: dir, pkg: "./cmd/ringrun", flags: []string{"-trimpath", "-ldflags=-s -w"},
		key: ourPackage, platform: on, name: "ringrun",
	}.run(ctx, g, func() { out.note("building ringrun for %s", on) }, out.raw())
	if err != nil && ctx.Err() == nil {
		return "", fmt.Errorf("ringrun does not build from %s: %w; put ringrun of that platform and the same version here instead: %s", dir, err, beside)
	}
	return exe, err
}

// sameVersion refuses another program, and another version of this one.
func sameVersion(file, on string) error {
	is, err := platformsOf(file)
	if err != nil || !fits(is, on) {
		return fmt.Errorf("%s is for %s", file, strings.Join(is, ", "))
	}
	theirs, err := buildinfo.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if ours, ok := debug.ReadBuildInfo(); ok && theirs.Main.Version != ours.Main.Version {
		return fmt.Errorf("%s is version %s, and this ringrun is %s", file, theirs.Main.Version, ours.Main.Version)
	}
	return nil
}

// ourSource is the folder with the source of this program: where it was built, or
// the module of that version that the program uses, or the module cache.
func ourSource(ctx context.Context, gotool string, prog program, g *guard) (string, error) {
	if dir := builtFrom(); dir != "" {
		return dir, nil
	}
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
	}
	known := strings.HasPrefix(version, "v") && !strings.Contains(version, "+")
	ask := []string{gotool, "list", "-m", "-json", ourModule}
	m, err := askGo(ctx, g, prog.folder(), ask...)
	if err == nil && m.Dir != "" && (!known || m.Version == version || m.Version == "") {
		return m.Dir, nil
	}
	if !known {
		return "", fmt.Errorf("this ringrun is version %s, and %s is of no module that uses %s", version, cmp.Or(prog.shown, "this folder"), ourModule)
	}
	m, err = askGo(ctx, g, os.TempDir(), gotool, "mod", "download", "-json", ourModule+"@"+version)
	if err == nil && m.Dir == "" {
		err = errors.New(m.Error)
	}
	return m.Dir, err
}

type moduleInfo struct{ Dir, Version, Error string }

func askGo(ctx context.Context, g *guard, dir string, args ...string) (m moduleInfo, err error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var stdout, stderr strings.Builder
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	err = runGuarded(cmd, g)
	if e := json.Unmarshal([]byte(stdout.String()), &m); e != nil && err == nil {
		err = e
	}
	if last := lastLine([]byte(stderr.String())); err != nil && last != "" {
		err = errors.New(last)
	}
	return m, err
}

// builtFrom is the checkout that this program was built in, if it is still there.
func builtFrom() string {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		return ""
	}
	dir := filepath.Dir(filepath.Dir(filepath.Dir(file)))
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil || !strings.HasPrefix(string(text), "module "+ourModule+"\n") {
		return ""
	}
	if _, err := os.Stat(file); err != nil {
		return ""
	}
	return dir
}

// folder is where the program's code is.
func (p program) folder() string {
	if st, err := os.Stat(p.path); err == nil && st.IsDir() {
		return p.path
	}
	return filepath.Dir(p.path)
}
