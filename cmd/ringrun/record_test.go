package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRecords(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "runs")
	r := records{dirs: []string{dir}}
	secret := []byte("sixteen bytes ok")
	remove, err := r.put("127.0.0.1:4000", secret)
	if err != nil {
		t.Fatal(err)
	}
	remove6, err := r.put("[::1]:4000", secret)
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{"127.0.0.1:4000": true, "localhost:4000": true, "[::1]:4000": true, "127.0.0.1:4001": false, "x": false} {
		if got, ok := r.find(addr); ok != want || ok && !bytes.Equal(got, secret) {
			t.Errorf("find(%q) = %q, %v; want %v", addr, got, ok, want)
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, name := range files {
		if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want mode 0600", name, st.Mode(), err)
		}
	}
	remove()
	remove6()
	if files, _ := filepath.Glob(filepath.Join(dir, "*")); len(files) > 0 {
		t.Errorf("left: %q", files)
	}
}

// A launcher that was killed leaves its records behind, without a lock. The port
// may belong to another run by now.
func TestStaleRecords(t *testing.T) {
	dir := t.TempDir()
	r := records{dirs: []string{dir}}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	stale := func(addr string) string {
		name := recordFile(dir, addr)
		if err := os.WriteFile(name, []byte(`{"addr":"`+addr+`","secret":"AAAA"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	found, swept := stale("127.0.0.1:1"), stale("127.0.0.1:2")
	if secret, ok := r.find("127.0.0.1:1"); ok {
		t.Errorf("find returns the stale %q", secret)
	}
	remove, err := r.put("127.0.0.1:3", make([]byte, minSecret))
	if err != nil {
		t.Fatal(err)
	}
	defer remove()
	for _, name := range []string{found, swept} {
		if _, err := os.Stat(name); !os.IsNotExist(err) {
			t.Errorf("%s is still there", name)
		}
	}
	if _, ok := r.find("127.0.0.1:3"); !ok {
		t.Error("the live record is gone")
	}
}

func TestRecordsAreAPrivateMatter(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	open := records{dirs: []string{dir}}
	if _, err := open.put("127.0.0.1:1", nil); err == nil || !strings.Contains(err.Error(), "open to others (mode 0755") {
		t.Errorf("put into a folder that others can read: %v", err)
	}
	both := records{dirs: []string{dir, filepath.Join(t.TempDir(), "runs")}}
	remove, err := both.put("127.0.0.1:1", make([]byte, minSecret))
	if err != nil {
		t.Fatal(err)
	}
	defer remove()
	if _, ok := both.find("127.0.0.1:1"); !ok {
		t.Error("the second folder was not used")
	}
}

func TestRunFollowsFromSecret(t *testing.T) {
	a, b := credential{secret: []byte("a")}, credential{secret: []byte("b")}
	if a.run() != (credential{secret: []byte("a")}).run() || a.run() == b.run() || len(a.run()) != 8 {
		t.Errorf("runs %q and %q", a.run(), b.run())
	}
}
