package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A copy that was cut off goes on where it was, in the same run of ringrun.
func TestCopyGoesOn(t *testing.T) {
	s := newStage(t).withHosts()
	s.ringrun("-H", "cut", workerProg(t), "-env").ends(0,
		`^ringrun: host cut: copy \S+: cut off: client_loop: send disconnect: Broken pipe; trying again$`,
		`^ringrun: copying \S+ \(\d+\.\d MB, going on after [1-9]\d*\.\d MB\) to cut$`, `^\[0\] HOME=`)
	if left, _ := filepath.Glob(envOf(s, "TEST_HOSTS") + "/cut/.cache/ringrun/*/*.part.*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// What another ringrun has left is gone on with, and found out if it is damaged.
func TestCopyOfAnother(t *testing.T) {
	r, p, out := cachedHost(t)
	here, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	part := p.in(r.dir) + ".part." + here + ".999999999" // no process has that number
	whole, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		left []byte
		want []string
	}{
		"good":     {whole[:1e6], []string{"going on after 1.0 MB"}},
		"damaged":  {make([]byte, 1e6), []string{"going on after 1.0 MB", "arrived damaged", "trying again", "copying parcel (2.0 MB) to here"}},
		"too long": {make([]byte, 3e6), []string{"copying parcel (2.0 MB) to here"}},
	} {
		os.RemoveAll(r.dir)
		if err := os.MkdirAll(filepath.Dir(part), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(part, tt.left, 0o600); err != nil {
			t.Fatal(err)
		}
		out.Reset()
		if err := r.put(t.Context(), p, "", out.printer()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		rest := out.String()
		for _, w := range tt.want {
			_, after, ok := strings.Cut(rest, w)
			if !ok {
				t.Errorf("%s: no %q in:\n%s", name, w, out.String())
			}
			rest = after
		}
		if got, err := os.ReadFile(p.in(r.dir)); err != nil || !bytes.Equal(got, whole) {
			t.Errorf("%s: a copy of %d bytes, %v", name, len(got), err)
		}
	}
}

func TestDiskFull(t *testing.T) {
	s := newStage(t).withHosts()
	bin := filepath.Join(envOf(s, "TEST_HOSTS"), "full", "bin")
	if err := os.MkdirAll(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	df := "#!/bin/sh\necho Filesystem 1024-blocks Used Available Capacity Mounted on\necho /dev/my disk 1000 990 10 99% /\n"
	if err := os.WriteFile(filepath.Join(bin, "df"), []byte(df), 0o700); err != nil {
		t.Fatal(err)
	}
	s.ringrun("-H", "full", workerProg(t)).ends(1, `^ringrun: host full: copy \S+: the disk with \S+/full/\.cache/ringrun has 0\.0 MB left, `+
		`and \d+\.\d MB are needed: make room there, or name a folder on another disk: -cache DIR \(ringrun doctor `)
	if left, _ := filepath.Glob(envOf(s, "TEST_HOSTS") + "/full/.cache/ringrun/*/*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	s.ringrun("-H", "a", "-cache", filepath.Join(s.dir, "there"), workerProg(t)).ends(0)
	if copies, _ := filepath.Glob(s.dir + "/there/*/worker"); len(copies) != 1 {
		t.Errorf("-cache: copies %q", copies)
	}
	s.ringrun("-H", "a", "-cache", "there", workerProg(t)).ends(2, `-cache there: want a path that begins with /`)
}

func TestShipped(t *testing.T) {
	p := parcel{file: "/x/prog", hash: "abc", size: 10}
	over, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("all is over"))
	for _, tt := range []struct {
		ctx    context.Context
		said   map[string]string
		fed    error
		ran    error
		stderr string
		want   string
	}{
		{said: map[string]string{"from": "0", "done": "abc"}, ran: errors.New("exit status 255"), want: "<nil>"},
		{ctx: over, want: "all is over"},
		{said: map[string]string{"from": "0"}, stderr: "cat: write error: No space left on device\n", fed: fmt.Errorf("%w: EPIPE", errCutOff),
			want: "cat: write error: No space left on device: the disk of its cache folder is full, or has no inode free; free some; or name a folder on a larger disk: -cache DIR"},
		{stderr: "mkdir: cannot create directory '/root': Read-only file system", want: "mkdir: cannot create directory '/root': Read-only file system: " +
			"the file system of its cache folder cannot be written; mount -o remount,rw there; or name another folder: -cache DIR"},
		{said: map[string]string{"from": "4"}, stderr: "timed out", want: "cut off: timed out"},
		{said: map[string]string{"from": "4"}, want: "cut off"},
		{ran: errors.New("exit status 1"), want: "exit status 1"},
	} {
		if tt.ctx == nil {
			tt.ctx = t.Context()
		}
		err := shipped(tt.ctx, p, tt.said, tt.fed, tt.ran, []byte(tt.stderr))
		if err != nil {
			err = withRemedy("a", err)
		}
		if fmt.Sprint(err) != tt.want {
			t.Errorf("shipped(%v, %v, %v, %q) = %v; want %s", tt.said, tt.fed, tt.ran, tt.stderr, err, tt.want)
		}
	}
}

func TestFreeOf(t *testing.T) {
	for line, want := range map[string]int64{
		"/dev/sda1  1000 500 500 50% /": 500 << 10, "my disk  1000 990 10 99% /mnt/a b": 10 << 10,
		"": -1, "a b 5%": -1, "x 1 2 many 5% /": -1, "x 1 2 -3 5% /": -1,
	} {
		if got, ok := freeOf(line); ok != (want >= 0) || ok && got != want {
			t.Errorf("freeOf(%q) = %d, %v; want %d", line, got, ok, want)
		}
	}
}

func TestProgressLine(t *testing.T) {
	now := time.Now()
	p := progress{}
	for i, done := range []int64{90, 10, 50, 99} {
		p.now = append(p.now, &copying{parcel: parcel{file: "prog", size: 100}, to: string('a' + rune(i)), begun: now.Add(-10 * time.Second), done: done})
	}
	if got, want := p.line(now), "copying prog to b: 10 %, prog to c: 50 %, prog to a: 90 %, 1 more; 90 s to go"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// The line of a terminal that changes stays under those that do not.
func TestStatusLine(t *testing.T) {
	var out output
	p := out.printer()
	p.live = true
	p.status("half")
	p.note("news")
	p.status("")
	p.note("more")
	const erase = "\r\x1b[K"
	if got, want := out.String(), erase+"half"+erase+"ringrun: news\nhalf"+erase+"ringrun: more\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// output is a printer's, for tests of what is within ringrun.
type output struct{ bytes.Buffer }

func (o *output) printer() *printer { return &printer{out: stream{w: o}, err: stream{w: o}} }

// cachedHost is a host that the ssh of the tests reaches, and a file for it.
func cachedHost(t *testing.T) (*remote, parcel, *output) {
	t.Helper()
	s := newStage(t).withHosts()
	for _, name := range []string{"PATH", "TEST_HOSTS", "HOME"} {
		t.Setenv(name, envOf(s, name))
	}
	t.Setenv("TEST_AS_RINGRUN", "1") // for the guard
	g, err := startGuard()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.close)
	r, err := reach(t.Context(), host{name: "here"}, "", g)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.dir, "parcel")
	if err := os.WriteFile(file, noise(2e6), 0o700); err != nil {
		t.Fatal(err)
	}
	p, err := newParcel(file)
	if err != nil {
		t.Fatal(err)
	}
	return r, p, &output{}
}

func noise(n int64) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: see its documentation
	return b
}
