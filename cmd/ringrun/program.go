package main

import (
	"context"
	"errors"
	"fmt"
	"go/build"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// A program is what the workers run: an executable, or Go code to build first.
type program struct {
	path   string // absolute
	source bool   // a folder or a .go file
	shown  string // as the user wrote it
}

// findProgram looks in PATH, as a shell does, and then takes name as a path.
func findProgram(name string) (program, error) {
	found := name
	if !strings.Contains(name, "/") {
		if p, err := exec.LookPath(name); err == nil || errors.Is(err, exec.ErrDot) {
			found = p
		}
	}
	path, err := filepath.Abs(found)
	if err != nil {
		return program{}, err
	}
	p := program{path: path, shown: name}
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && strings.Contains(name, "/"):
		return p, fmt.Errorf("no such program: %s; is the path right, from the folder in which ringrun was started?", name)
	case errors.Is(err, fs.ErrNotExist):
		return p, fmt.Errorf("no such program: %s is neither in PATH nor in this folder", name)
	case err != nil:
		return p, fmt.Errorf("program %s: %w", name, err)
	case st.IsDir():
		p.source = true
		return p, checkFolder(path, name)
	case strings.HasSuffix(name, ".go"):
		p.source = true
		return p, checkFile(path, name)
	case st.Mode()&0o111 == 0:
		return p, fmt.Errorf("program %s is not executable: chmod +x %s, or name the folder of its Go code", name, name)
	}
	return p, nil
}

func checkFolder(path, name string) error {
	pkg, err := build.ImportDir(path, 0)
	var none *build.NoGoError
	switch {
	case errors.As(err, &none):
		return fmt.Errorf("folder %s has no Go files: a program or a folder with a main package is wanted", name)
	case err != nil:
		return fmt.Errorf("folder %s: %w", name, err)
	case pkg.Name != "main":
		return fmt.Errorf("folder %s has package %s, not a main package", name, pkg.Name)
	}
	return nil
}

func checkFile(path, name string) error {
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly)
	switch {
	case err != nil:
		return fmt.Errorf("program %s: %w", name, err)
	case f.Name.Name != "main":
		return fmt.Errorf("program %s has package %s, not a main package", name, f.Name.Name)
	}
	return nil
}

// build returns the path of the executable for a platform. What it builds stays in
// a cache, so that nothing is linked again if nothing has changed.
func (p program) build(ctx context.Context, platform string, g *guard, note func(string, ...any), stderr io.Writer) (string, error) {
	if !p.source {
		return p.path, nil
	}
	gotool, err := exec.LookPath("go")
	if err != nil {
		return "", fmt.Errorf("%s is Go code, and there is no go command in PATH to build it", p.shown)
	}
	dir, pkg := p.path, "."
	if strings.HasSuffix(p.shown, ".go") {
		dir, pkg = filepath.Split(p.path)
	}
	what := "building " + p.shown
	if platform != thisPlatform {
		what += " for " + platform
	}
	exe, err := goBuild{
		gotool: gotool, dir: dir, pkg: pkg, key: p.path, platform: platform,
		name: strings.TrimSuffix(filepath.Base(p.path), ".go"),
	}.run(ctx, g, func() { note("%s", what) }, stderr)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%s does not build%s (%w): correct what the compiler says above", p.shown, strings.TrimPrefix(what, "building "+p.shown), err)
		if platform != thisPlatform {
			err = fmt.Errorf("%w (other platforms are built without cgo; an executable that was built there can be given instead)", err)
		}
	}
	return exe, err
}

// lockFolder makes the folder and waits until no other launcher builds there.
func lockFolder(ctx context.Context, dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	locked := make(chan error, 1)
	go func() { locked <- syscall.Flock(int(f.Fd()), syscall.LOCK_EX) }()
	select {
	case err := <-locked:
		if err != nil {
			f.Close()
			return nil, err
		}
		return func() { f.Close() }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx) // the process is about to end, and f with it
	}
}

// runGuarded runs a helper in a group of its own, which ends as a whole when ctx
// does or when this process is killed.
func runGuarded(cmd *exec.Cmd, g *guard) error {
	inGroup(cmd)
	if err := g.start(cmd); err != nil {
		return err
	}
	defer g.release(cmd.Process.Pid)
	return cmd.Wait()
}
