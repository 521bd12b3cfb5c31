package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// get asks from within a host.
func (l *lab) get(host, url string) (text string, err error) {
	l.t.Helper()
	here, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return "", err
	}
	defer here.Close()
	there, err := os.Open(filepath.Join("/run/netns", l.prefix+host))
	if err != nil {
		return "", err
	}
	defer there.Close()
	runtime.LockOSThread()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		l.t.Fatal(err)
	}
	text, err = getHere(url)
	if back := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); back != nil {
		l.t.Fatal(back)
	}
	runtime.UnlockOSThread() // a thread that ended would take the sshd with it that it has started
	return text, err
}

// getHere connects in this goroutine, not in one of package http. It goes where it is
// sent to.
func getHere(url string, with ...*http.Cookie) (string, error) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	for _, c := range with {
		req.AddCookie(c)
	}
	c, err := net.DialTimeout("tcp", req.URL.Host, patience)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	req.Close = true
	if err := req.Write(c); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSeeOther && len(with) == 0 {
		to, err := resp.Location()
		if err != nil {
			return "", err
		}
		return getHere(to.String(), resp.Cookies()...)
	}
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, b)
	}
	return string(b), err
}

// The page and the metrics of a run on other hosts are where ringrun says.
func TestWatchOtherHosts(t *testing.T) {
	l := newLab(t, "here", "a", "b")
	l.join(1, true, false)
	l.up("", labAddr(1, 1), labAddr(1, 2))
	r := l.launch("here", l.self(), "-H", "a:2,b", "-ui", "0.0.0.0:7464", "-metrics", "0.0.0.0:9400", trainerProg(t))
	page := r.until(1, `^ringrun: see (http://10\.71\.0\.2:7464/\S+)$`)[0][1]
	r.until(3, `^\[\d\] step 1$`)
	if text, err := l.get("here", page); err != nil || !strings.Contains(text, "<title>ringrun</title>") {
		t.Errorf("%s: %v\n%.300s", page, err, text)
	}
	for host, want := range map[string]string{"a": `id="p0-`, "b": `id="p2-`} {
		at := r.until(1, `^ringrun: metrics of host `+host+`: (http://\S+/metrics)\b.*$`)[0][1]
		if text, err := l.get("here", at); err != nil || !strings.Contains(text, want) {
			t.Errorf("%s: %v, no %s in\n%.300s", at, err, want, text)
		}
	}
	if text, err := l.get("here", "http://10.71.0.2:9401/metrics"); err != nil || !strings.Contains(text, `id="p1-`) {
		t.Errorf("the second worker of host a: %v\n%.300s", err, text)
	}
	r.signal(syscall.SIGINT)
	r.ends(128+int(syscall.SIGINT), `^ringrun: metrics of host a: .*, those of its other workers at the ports that follow$`)

	r = l.launch("here", l.self(), "-H", "a", "-ui", "7464", trainerProg(t))
	r.until(1, `^ringrun: see http://127\.0\.0\.1:7464/ on host a; from here: ssh -L 7464:localhost:7464 a$`)
	r.signal(syscall.SIGINT)
	r.ends(128 + int(syscall.SIGINT))
}
