package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// records remember, in folders that only this user can read, the secrets of the
// runs that were started here, by the address of each peer. So "ringrun -join
// ADDR" needs nothing else on the same machine. The launcher holds a lock on its
// records while it lives; one that is not locked is stale, and removed by
// whoever finds it.
type records struct{ dirs []string } // the first is written

type record struct {
	Addr   string `json:"addr"`
	Secret []byte `json:"secret"`
	// Kept without a lock: it is stale when nobody listens there any more.
	Kept bool `json:"kept,omitempty"`
}

const recordSuffix = ".json"

// openRecords prefers the run-time folder, which does not outlive the session.
func openRecords() records {
	var r records
	if d := os.Getenv("XDG_RUNTIME_DIR"); d != "" {
		r.dirs = append(r.dirs, filepath.Join(d, "ringrun", "runs"))
	}
	if d, err := os.UserCacheDir(); err == nil {
		r.dirs = append(r.dirs, filepath.Join(d, "ringrun", "runs"))
	}
	return r
}

// put records one peer, until remove is called or the process ends.
func (r records) put(addr string, secret []byte) (remove func(), err error) {
	return r.write(record{Addr: addr, Secret: secret})
}

// keep records one peer until nobody listens there.
func (r records) keep(addr string, secret []byte) error {
	_, err := r.write(record{Addr: addr, Secret: secret, Kept: true})
	return err
}

func (r records) write(rec record) (remove func(), err error) {
	if len(r.dirs) == 0 {
		return nil, errors.New("there is neither XDG_RUNTIME_DIR nor a cache folder")
	}
	var dir string
	for _, d := range r.dirs {
		if err = privateFolder(d); err == nil {
			dir = d
			break
		}
	}
	if err != nil {
		return nil, err
	}
	sweep(dir)
	f, err := os.CreateTemp(dir, "new") // mode 0600
	if err != nil {
		return nil, err
	}
	name := recordFile(dir, rec.Addr)
	if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
		if err = json.NewEncoder(f).Encode(rec); err == nil {
			err = os.Rename(f.Name(), name)
		}
	}
	if err != nil {
		os.Remove(f.Name())
		f.Close()
		return nil, err
	}
	return func() {
		removeSame(name, f)
		f.Close()
	}, nil
}

// find returns the secret of the run that has a peer at addr. A host name
// stands for each of its addresses.
func (r records) find(addr string) ([]byte, bool) {
	h, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, false
	}
	hosts := []string{h}
	if ips, err := net.LookupHost(h); err == nil {
		hosts = append(hosts, ips...)
	}
	for _, dir := range r.dirs {
		for _, h := range hosts {
			if rec, ok := readRecord(recordFile(dir, net.JoinHostPort(h, port))); ok {
				return rec.Secret, true
			}
		}
	}
	return nil, false
}

func recordFile(dir, addr string) string {
	return filepath.Join(dir, url.PathEscape(addr)+recordSuffix)
}

func readRecord(name string) (record, bool) {
	f, err := os.Open(name)
	if err != nil {
		return record{}, false
	}
	defer f.Close()
	free := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil
	var rec record
	if err := json.NewDecoder(f).Decode(&rec); free && (err != nil || !rec.Kept || !listens(rec.Addr)) {
		removeSame(name, f)
		return record{}, false
	} else if err != nil {
		return record{}, false
	}
	return rec, true
}

// listens reports whether somebody may listen at an address; only a refusal says
// that nobody does.
func listens(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err == nil {
		c.Close()
	}
	return !errors.Is(err, syscall.ECONNREFUSED)
}

// sweep removes the records of launchers that were killed.
func sweep(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), recordSuffix) {
			readRecord(filepath.Join(dir, e.Name()))
		}
	}
}

// removeSame removes the file unless another has taken its name since.
func removeSame(name string, f *os.File) {
	at, err := os.Stat(name)
	if err != nil {
		return
	}
	if is, err := f.Stat(); err == nil && os.SameFile(at, is) {
		os.Remove(name)
	}
}

// privateFolder makes the folder, or checks that nobody else can look inside.
func privateFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	st, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	owner, ok := st.Sys().(*syscall.Stat_t)
	switch {
	case !st.IsDir():
		return fmt.Errorf("%s is not a folder", dir)
	case st.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s is open to others (mode %04o, want 0700)", dir, st.Mode().Perm())
	case ok && int(owner.Uid) != os.Getuid():
		return fmt.Errorf("%s belongs to another user", dir)
	}
	return nil
}
