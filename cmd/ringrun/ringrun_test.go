package main

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringrun/ringrun/elastic/web/webtest"
)

func TestRun(t *testing.T) {
	text := newStage(t).ringrun("-n", "3", workerProg(t), "-n", "x", "--", "y").ends(1) // -n is the program's, which has none
	if !strings.Contains(text, "flag provided but not defined: -n") {
		t.Errorf("the program did not get its own flag:\n%s", text)
	}
	text = newStage(t).ringrun("-n", "3", workerProg(t), "--", "a", "-b").ends(0,
		`^\[0\] together p0-\w{4} \[a -b\]`, `^\[1\] together p1-\w{4} `, `^\[2\] together p2-\w{4} `,
		`^ringrun: listening; one more peer: ringrun -join 127\.0\.0\.1:\d+ `)
	if n := strings.Count(text, "view 2: 3 peers"); n != 1 {
		t.Errorf("view 2 is told %d times, want once:\n%s", n, text)
	}
}

func TestWorkerEnvironment(t *testing.T) {
	s := newStage(t)
	s.env = append(s.env, "RINGRUN_JOIN=left-over", "OTHER=kept")
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	text := s.ringrun("-n", "2", "-min-n", "2", "-transport", "rtc", "-codec", "zstd", "-silence", "1.5s", "-log", "debug",
		workerProg(t), "-env").ends(0,
		`^\[0\] RINGRUN_FOUND=1$`, `^\[0\] RINGRUN_BIND=127\.0\.0\.1:0$`, `^\[0\] RINGRUN_EXPECT=2$`, `^\[0\] RINGRUN_MIN_N=2$`,
		`^\[0\] RINGRUN_TRANSPORT=rtc$`, `^\[0\] RINGRUN_CODEC=zstd$`, `^\[0\] RINGRUN_SILENCE=1\.5s$`, `^\[0\] RINGRUN_LOG=debug$`,
		`^\[0\] RINGRUN_REPORT=3$`, `^\[0\] RINGRUN_ID=p0-\w{4}$`, `^\[0\] RINGRUN_SECRET=\w{64}$`, `^\[0\] OTHER=kept$`,
		`^\[1\] RINGRUN_ID=p1-\w{4}$`, `^\[1\] RINGRUN_JOIN=127\.0\.0\.1:\d+$`, `^\[1\] DIR=`+regexp.QuoteMeta(cwd)+`$`)
	if strings.Contains(text, "left-over") || strings.Contains(text, "[1] RINGRUN_FOUND") {
		t.Errorf("a worker has what is not meant for it:\n%s", text)
	}
	secrets := regexp.MustCompile(`RINGRUN_(SECRET|RUN)=\w+`).FindAllString(text, -1)
	if len(secrets) != 4 || secrets[0] == secrets[1] || !strings.Contains(strings.Join(secrets[2:], " "), secrets[0]) {
		t.Errorf("run and secret of two workers: %q", secrets)
	}
}

func TestUsage(t *testing.T) {
	prog := workerProg(t)
	notExec := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(notExec, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	notProgram := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(notProgram, []byte("x"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args   string
		status int
		want   string
	}{
		{"-h", 0, `ringrun -n 4 \./cmd/mnist`},
		{"", 2, `no PROG`},
		{"-n 0 " + prog, 2, `-n 0: at least 1 worker`},
		{"-n -2 " + prog, 2, `-n -2: at least 1 worker`},
		{"-n many " + prog, 2, `"many" for flag -n`},
		{"-frobnicate " + prog, 2, `-frobnicate`},
		{"-transport udp " + prog, 2, `-transport udp: want auto, shm, tcp, rtc`},
		{"-codec mp3 " + prog, 2, `-codec mp3: want raw, half, zstd`},
		{"-n 2 -min-n 3 " + prog, 2, `-min-n 3: want 1 to 2`},
		{"-port 70000 " + prog, 2, `-port 70000`},
		{"-n 3 -max-n 2 " + prog, 2, `-max-n 2: want at least 3`},
		{"-restart often " + prog, 2, `-restart often: want a number of times, or never`},
		{"-elastic-timeout -1s " + prog, 2, `-elastic-timeout -1s: want 0 or more`},
		{"-silence 1ms " + prog, 2, `-silence 1ms`},
		{"-grace 1ms " + prog, 2, `-grace 1ms: want at least 100ms`},
		{"-batch-policy half " + prog, 2, `-batch-policy half: want constant, scale`},
		{"-on-divergence wait " + prog, 2, `-on-divergence wait: want heal, stop`},
		{"-audit a -detach " + prog, 2, `-audit a: the launcher writes it`},
		{"-audit /nonexistent/a " + prog, 1, `-audit: open /nonexistent/a`},
		{"audit", 2, `no FILE`},
		{"audit /nonexistent", 1, `/nonexistent`},
		{"drain", 2, `which PEER`},
		{"-join nowhere " + prog, 2, `-join nowhere: "nowhere" is not host:port`},
		{"-H a:0 " + prog, 2, `-H a:0: .*"0" is not a number of slots`},
		{"-H localhost:2 -n 3 " + prog, 2, `-n 3: the hosts have only 2 slots`},
		{"-secret-file /nonexistent " + prog, 1, `-secret-file: open /nonexistent`},
		{"no-such-program", 1, `no such program: no-such-program is neither in PATH`},
		{"./no-such-program", 1, `no such program: \./no-such-program`},
		{notExec, 1, `is not executable`},
		{notProgram, 1, `worker 0 does not start on host localhost: .*exec format error`},
		{"./testdata/empty", 1, `folder \./testdata/empty has no Go files`},
		{"./testdata/library", 1, `folder \./testdata/library has package library, not a main package`},
		{"./testdata/broken", 1, `\./testdata/broken does not build`},
	} {
		t.Run(tt.args, func(t *testing.T) {
			newStage(t).ringrun(strings.Fields(tt.args)...).ends(tt.status, tt.want)
		})
	}
}

func TestBuild(t *testing.T) {
	s := newStage(t)
	for _, prog := range []string{"./testdata/worker", "testdata/worker/main.go"} {
		s.ringrun("-n", "2", prog, "built").ends(0, `^ringrun: building `+regexp.QuoteMeta(prog), `^\[1\] together p1-\w+ \[built\]`)
	}
}

func TestFailingWorker(t *testing.T) {
	s := newStage(t)
	l := s.ringrun("-n", "3", workerProg(t), "-on", "p1", "-exit", "3", "-why", "cannot count")
	l.ends(1, `^ringrun: worker 1 failed with status 3: cannot count$`, `^ringrun: the job failed: 1 of 3 workers failed$`,
		`^\[0\] together`, `^\[2\] together`)
}

func TestKilledWorker(t *testing.T) {
	s := newStage(t)
	s.ringrun("-n", "3", workerProg(t), "-on", "p1", "-suicide").ends(0,
		`^ringrun: worker 1 was killed by SIGKILL$`, `^ringrun: done: 2 of 3 workers finished$`)
	s.ringrun("-n", "3", "-min-n", "3", workerProg(t), "-on", "p1", "-suicide").ends(1,
		`^ringrun: the job failed: 2 workers finished, -min-n is 3$`)
}

func TestViewIsToldOnce(t *testing.T) {
	l := newStage(t).ringrun("-n", "3", workerProg(t), "-hang")
	waiting := l.until(3, `^\[(\d)\] waiting (\d+)`)
	for _, w := range waiting {
		if w[1] == "1" {
			kill(t, w[2], syscall.SIGKILL)
		}
	}
	l.until(1, `^ringrun: view 3: 2 peers \(p1 was lost\)$`)
	l.signal(syscall.SIGTERM)
	l.ends(128 + int(syscall.SIGTERM))
}

func TestFounderDies(t *testing.T) {
	s := newStage(t)
	s.ringrun("-n", "2", workerProg(t), "-on", "p0", "-early", "4").ends(1,
		`^ringrun: the founder, worker 0, ended before it could be joined \(with status 4\): last complaint$`)
	s.ringrun("-n", "2", workerProg(t), "-on", "p0", "-early", "0").ends(1, `ended before it could be joined`)
	text := s.ringrun("-n", "2", "true").ends(1, `does it call elastic\.Run\?`)
	if strings.Contains(text, "[1]") {
		t.Errorf("worker 1 was started without a founder:\n%s", text)
	}
}

func TestPort(t *testing.T) {
	port := strconv.Itoa(webtest.FreePorts(t, 1))
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	newStage(t).ringrun("-n", "2", "-port", port, workerProg(t)).ends(1,
		`ended before it could be joined .*address already in use`)
	within(t, time.Since(begin), 10*time.Second)
	l.Close()
	newStage(t).ringrun("-n", "2", "-port", port, workerProg(t)).ends(0, `-join 127\.0\.0\.1:`+port+` `)
}

func TestLongLines(t *testing.T) {
	text := newStage(t).ringrun("-n", "1", workerProg(t), "-long", "300000").ends(0, `^\[0\] no end$`)
	if !strings.Contains(text, "[0] "+strings.Repeat("x", 300000)+".\n") {
		t.Errorf("the long line is not whole")
	}
}

func TestJoin(t *testing.T) {
	s := newStage(t)
	founder := s.ringrun("-n", "2", workerProg(t), "-polite")
	founder.until(2, `waiting`)
	addr := founder.until(1, `-join (\S+) `)[0][1]
	s.ringrun("-join", addr, workerProg(t), "-env").ends(0, `^\[0\] together p0-\w{8} `, `^\[0\] RINGRUN_JOIN=`+regexp.QuoteMeta(addr)+`$`)
	_, port, _ := net.SplitHostPort(addr)
	s.ringrun("-join", "localhost:"+port, workerProg(t)).ends(0)

	stranger := newStage(t)
	stranger.ringrun("-join", addr, workerProg(t)).ends(1, `^ringrun: -join `+regexp.QuoteMeta(addr)+`: somebody listens there, .*-secret-file`)
	founder.signal(syscall.SIGTERM)
	founder.ends(128+int(syscall.SIGTERM), `^\[0\] got terminated$`)
	s.ringrun("-join", addr, workerProg(t)).ends(1, `^ringrun: -join `+regexp.QuoteMeta(addr)+`: nobody answers there: `)
	if left, _ := filepath.Glob(filepath.Join(s.dir, "ringrun", "runs", "*")); len(left) > 0 {
		t.Errorf("records are left: %q", left)
	}
}

func TestSecretFile(t *testing.T) {
	s := newStage(t)
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(strings.Repeat("ab", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := `^\[0\] RINGRUN_SECRET=(ab){32}$`
	s.ringrun("-secret-file", name, workerProg(t), "-env").ends(0, want)
	s.env = append(s.env, "RINGRUN_SECRET="+strings.Repeat("ab", 32))
	s.ringrun(workerProg(t), "-env").ends(0, want)
	s.env = append(s.env, "RINGRUN_SECRET=abcd")
	s.ringrun(workerProg(t), "-env").ends(1, `^ringrun: RINGRUN_SECRET: want at least 16 bytes in hex: `)
}
