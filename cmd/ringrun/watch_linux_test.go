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
	done := make(chan struct{})
	go func() {
		defer close(done)
		var leave func()
		if leave, err = enter(filepath.Join("/run/netns", l.prefix+host)); err == nil {
			defer leave()
			text, err = getHere(url)
		}
	}()
	<-done
	return text, err
}

// enter lets the thread of this goroutine into a network namespace. The thread is
// brought back, not ended: what was started from it, as sshd, may end with it.
func enter(path string) (leave func(), err error) {
	ns, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err == nil {
		err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
	}
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	return func() {
		defer own.Close()
		if unix.Setns(int(own.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}, nil
}

// getHere connects in this goroutine, not in one of package http. It follows a page
// that keeps the token of its address in a cookie.
func getHere(url string) (string, error) {
	resp, text, err := askHere(url, nil)
	if err == nil && resp.StatusCode == http.StatusSeeOther {
		to, bad := resp.Location()
		if bad != nil {
			return "", bad
		}
		resp, text, err = askHere(to.String(), resp.Cookies())
	}
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return text, err
}

func askHere(url string, cookies []*http.Cookie) (*http.Response, string, error) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return nil, "", err
	}
	for _, c := range cookies {
		req.AddCookie(c)
	}
	c, err := net.DialTimeout("tcp", req.URL.Host, 5*time.Second)
	if err != nil {
		return nil, "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return nil, "", err
	}
	req.Close = true
	if err := req.Write(c); err != nil {
		return nil, "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
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
