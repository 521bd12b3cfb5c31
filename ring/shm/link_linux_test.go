package shm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
	"golang.org/x/sys/unix"
)

// half opens one end of a link. The test plays the other end: it writes to the
// segment, and has the socket.
func half(t testing.TB) (*link, *segment, *net.UnixConn) {
	t.Helper()
	here, there := socketPair(t)
	theirs, fd, err := newSegment(minRing)
	if err != nil {
		t.Fatal(err)
	}
	in, err := adopt(fd)
	if err != nil {
		t.Fatal(err)
	}
	out, fd, err := newSegment(minRing)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	l := newLink(here, ring.Edge{Peer: "p1"}, out, in)
	t.Cleanup(func() {
		l.Close()
		theirs.unmap()
	})
	return l, theirs, there
}

func socketPair(t testing.TB) (here, there *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = c.(*net.UnixConn)
		t.Cleanup(func() { c.Close() })
	}
	return conns[0], conns[1]
}

// TestBroken: what the other end says about its progress is not believed when it
// cannot be.
func TestBroken(t *testing.T) {
	for _, tt := range []struct {
		name string
		word int
		then []uint64 // what it says, one after the other
	}{
		{"sent more than fits", wordSent, []uint64{minRing + 1}},
		{"sent less than before", wordSent, []uint64{slotBytes, slotBytes - 1}},
		{"taken more than was sent", wordTaken, []uint64{slotBytes, 1 << 40}},
		{"taken less than before", wordTaken, []uint64{slotBytes, 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, s, _ := half(t)
			copy(s.ring, ring.Header{Kind: ring.Alive}.AppendTo(nil))
			var err error
			for _, v := range tt.then {
				if s.word(tt.word).Store(v); tt.word == wordSent {
					_, err = l.Next()
				} else {
					for n := 0; err == nil && n <= minRing; n += slotBytes { // to the end of the window
						err = l.Send(ring.Header{Kind: ring.Alive}, nil)
					}
				}
			}
			if !errors.Is(err, errCursor) {
				t.Errorf("got %v, want %v", err, errCursor)
			}
		})
	}
}

// TestReadOnly: who gets a segment can do nothing to it.
func TestReadOnly(t *testing.T) {
	s, fd, err := newSegment(minRing)
	if err != nil {
		t.Fatal(err)
	}
	defer s.unmap()
	defer unix.Close(fd)
	size := pageBytes + minRing
	if _, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != unix.EPERM {
		t.Errorf("mapped for writing: %v, want EPERM", err)
	}
	mem, err := unix.Mmap(fd, 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	if err := unix.Mprotect(mem, unix.PROT_READ|unix.PROT_WRITE); err != unix.EACCES {
		t.Errorf("mprotect: %v, want EACCES", err)
	}
	if _, err := unix.Write(fd, []byte("x")); err != unix.EPERM {
		t.Errorf("write: %v, want EPERM", err)
	}
	for _, n := range []int{0, size / 2, 2 * size} {
		if err := unix.Ftruncate(fd, int64(n)); err != unix.EPERM {
			t.Errorf("truncated to %d bytes: %v, want EPERM", n, err)
		}
	}
	if err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, pageBytes); err != unix.EPERM {
		t.Errorf("punched a hole: %v, want EPERM", err)
	}
}

// TestAdopt: a descriptor that is no segment is not mapped.
func TestAdopt(t *testing.T) {
	checkHoldings(t)
	memory := func(size int64, seals int) int {
		fd, err := unix.MemfdCreate("ringrun-test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Ftruncate(fd, size); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
			t.Fatal(err)
		}
		return fd
	}
	const good = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[1])
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		fd   int
		ok   bool
	}{
		{"as it should be", memory(pageBytes+minRing, good), true},
		{"can shrink", memory(pageBytes+minRing, unix.F_SEAL_GROW), false},
		{"can grow", memory(pageBytes+minRing, unix.F_SEAL_SHRINK), false},
		{"empty", memory(0, good), false},
		{"too small", memory(pageBytes+minRing/2, good), false},
		{"no power of two", memory(pageBytes+minRing+1, good), false},
		{"too large", memory(pageBytes+2*maxRing, good), false},
		{"larger than any memory", memory(1<<62, good), false},
		{"pipe", p[0], false},
		{"device", null, false},
	} {
		s, err := adopt(tt.fd)
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, errSegment) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if s != nil {
			s.unmap()
		}
	}
}

// TestSleepers: who waits long enough sleeps, burns nothing, and is woken by a
// frame, by room for one, and by the end of the link.
func TestSleepers(t *testing.T) {
	ringtest.CheckLeaks(t)
	ts := group(t, 2, nil)
	d, a := connect(t, ts[0], ts[1], 1)
	body := make([]byte, 256<<10)
	sent := make(chan error, 1)
	go func() {
		for {
			if err := d.Send(ring.Header{Kind: ring.Data, Length: uint32(len(body))}, body); err != nil {
				sent <- err
				return
			}
		}
	}()
	got := make(chan error, 1)
	go func() { got <- ringtest.Receive(d, 1, nil) }()
	dl := d.(*link)
	awaitSleep(t, dl, wordFull)
	awaitSleep(t, dl, wordHungry)
	const window = 100 * time.Millisecond
	least := time.Minute
	for range 5 { // others may burn something now and then, sleepers would always
		used := cpuTime(t)
		<-time.After(window)
		least = min(least, cpuTime(t)-used)
	}
	if least > window/10 {
		t.Errorf("two sleepers burn %v in %v", least, window)
	}
	if err := ringtest.Receive(a, 10, make([]byte, len(body))); err != nil { // more than the ring holds: the sender must have woken
		t.Error(err)
	}
	if err := a.Send(ring.Header{Kind: ring.Data}, nil); err != nil {
		t.Error(err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
	awaitSleep(t, dl, wordFull)
	a.Close()
	select {
	case err := <-sent:
		if !errors.Is(err, syscall.EPIPE) {
			t.Errorf("sender: %v, want EPIPE", err)
		}
	case <-time.After(patience):
		t.Error("the sender sleeps on")
	}
}

// awaitSleep waits until the link says that it sleeps.
func awaitSleep(t *testing.T, l *link, word int) {
	t.Helper()
	for end := time.Now().Add(patience); l.out.word(word).Load() == 0 || l.out.word(word).Load()&1 == dozes; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("nobody sleeps")
		}
	}
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestDialSaysWhatWentWrong: nobody listens where p1 is said to be.
func TestDialSaysWhatWentWrong(t *testing.T) {
	p0 := group(t, 1, func(_ int, cfg *Config) {
		cfg.Resolve = func(string) (string, error) { return "@ringrun-nobody", nil }
	})[0]
	err := dial(t, p0, 1, time.Second)
	for _, want := range []string{"p1", "@ringrun-nobody", "refused", "deadline"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not mention %q", err, want)
		}
	}
}

// TestLastWordsArrive: a peer sends, closes everything and is gone. Its
// neighbour, which was sending too, reads all of it.
func TestLastWordsArrive(t *testing.T) {
	ringtest.CheckLeaks(t)
	ts := group(t, 2, nil)
	a, b := connect(t, ts[0], ts[1], 1)
	body := bytes.Repeat([]byte("x"), 64<<10)
	for i, l := range []ring.Link{b, a} {
		for range 10 {
			if err := l.Send(ring.Header{Kind: ring.Data, Length: uint32(len(body))}, body); err != nil {
				t.Fatal(i, err)
			}
		}
	}
	a.Close()
	ts[0].Close()
	if err := ringtest.Receive(b, 10, body); err != nil {
		t.Error(err)
	}
	if _, err := b.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("at the end: %v, want io.ErrUnexpectedEOF", err)
	}
}

func TestIdentity(t *testing.T) {
	id := Identity()
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Skip(err)
	}
	for _, want := range []string{strings.TrimSpace(string(boot)), "net:[", "ipc:["} {
		if !strings.Contains(id, want) {
			t.Errorf("%q does not mention %s", id, want)
		}
	}
}

// TestSkip: a body larger than the ring, of which nothing is read.
func TestSkip(t *testing.T) {
	ringtest.CheckLeaks(t)
	ts := group(t, 2, func(_ int, cfg *Config) { cfg.RingBytes = minRing })
	d, a := connect(t, ts[0], ts[1], 1)
	body := make([]byte, 5*minRing+1)
	sent := make(chan error, 1)
	go func() {
		err := d.Send(ring.Header{Kind: ring.Data, Length: uint32(len(body))}, body)
		if err == nil {
			err = d.Send(ring.Header{Kind: ring.Data, Seq: 1}, nil)
		}
		sent <- err
	}()
	for seq := range uint32(2) {
		h, err := a.Next()
		if err != nil || h.Seq != seq {
			t.Fatalf("Next = %+v, %v; want seq %d", h, err, seq)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// TestIdentityOfContainers: a process in another namespace of network or IPC is
// on another host, as far as memory goes.
func TestIdentityOfContainers(t *testing.T) {
	if os.Getenv(childEnv) == "identity" {
		fmt.Println(Identity())
		return
	}
	identityIn := func(flags uintptr) string {
		child := exec.Command(os.Args[0], "-test.run=^TestIdentityOfContainers$")
		child.Env = append(os.Environ(), childEnv+"=identity")
		child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
		out, err := child.Output()
		if errors.Is(err, syscall.EPERM) {
			t.Skip("may not make namespaces")
		}
		if err != nil {
			t.Fatal(err)
		}
		id, _, _ := strings.Cut(string(out), "\n")
		return id
	}
	if id := identityIn(0); id != Identity() || id == "" {
		t.Errorf("another process here is %q, this one %q", id, Identity())
	}
	for name, flags := range map[string]uintptr{"network": syscall.CLONE_NEWNET, "IPC": syscall.CLONE_NEWIPC} {
		if id := identityIn(flags); id == Identity() || id == "" {
			t.Errorf("in another namespace of %s: %q, here %q", name, id, Identity())
		}
	}
}
