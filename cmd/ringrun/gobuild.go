package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// thisPlatform is where this program runs.
const thisPlatform = runtime.GOOS + "/" + runtime.GOARCH

// A goBuild makes an executable and keeps it in the cache.
type goBuild struct {
	gotool   string
	dir, pkg string
	flags    []string
	key      string // of the place in the cache, with the platform
	platform string
	name     string
}

// run builds, and returns the executable.
func (b goBuild) run(ctx context.Context, g *guard, begin func(), stderr io.Writer) (string, error) {
	cache, err := buildCache()
	if err != nil {
		return "", err
	}
	key := b.key
	if b.platform != thisPlatform {
		key += "\x00" + b.platform
	}
	sum := sha256.Sum256([]byte(key))
	out := filepath.Join(cache, hex.EncodeToString(sum[:8]))
	unlock, err := lockFolder(ctx, out)
	if err != nil {
		return "", err
	}
	defer unlock()
	exe := filepath.Join(out, b.name)
	begin()
	cmd := exec.CommandContext(ctx, b.gotool, append(append([]string{"build", "-o", exe}, b.flags...), b.pkg)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = b.dir, stderr, stderr
	if b.platform != thisPlatform {
		cmd.Env = append(os.Environ(), crossEnv(b.platform)...)
	}
	if err := runGuarded(cmd, g); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", err
	}
	return exe, nil
}

func buildCache() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("there is no place to build: %w: set HOME", err)
	}
	return filepath.Join(cache, "ringrun", "build"), nil
}

// crossEnv lets the go command build for another platform, for the oldest
// processors of its kind: which it is exactly we have not asked.
func crossEnv(platform string) []string {
	system, machine, _ := strings.Cut(platform, "/")
	return []string{"GOOS=" + system, "GOARCH=" + machine, "CGO_ENABLED=0", "GOARM=6", "GOAMD64=v1", "GOARM64=v8.0"}
}
