package bench

import (
	"context"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestLaunchReportsPeersThatDoNotServe(t *testing.T) {
	const long, short = time.Minute, 100 * time.Millisecond
	for _, tt := range []struct {
		command, want string
		founding      time.Duration
	}{
		{"no-such-program-anywhere", "no-such-program-anywhere", long},
		{"true", "ended before it listened", long},
		{"false", "exit status 1", long},
		{"cat", "does not listen", short}, // and repeats what it is told, which is no news
	} {
		if _, err := exec.LookPath(tt.command); err != nil && tt.command != tt.want {
			t.Logf("no %s here", tt.command)
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*long)
		err := Launch{Peers: 2, Command: []string{tt.command}, Stderr: io.Discard, founding: tt.founding}.Run(ctx)
		cancel()
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "peer p0") {
			t.Errorf("launch of %s: %v; want peer p0 and %q", tt.command, err, tt.want)
		}
	}
}

func TestLaunchWithoutPeers(t *testing.T) {
	if err := (Launch{}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "0 peers") {
		t.Errorf("launch of no peers: %v", err)
	}
}

func TestLaunchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := exec.LookPath("cat"); err != nil {
		t.Skip("no cat here")
	}
	if err := (Launch{Peers: 2, Command: []string{"cat"}, Stderr: io.Discard}).Run(ctx); err != context.DeadlineExceeded {
		t.Errorf("launch of cat for 100 ms: %v, want %v", err, context.DeadlineExceeded)
	}
}
