package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Copies that nobody has used for long go, then the oldest, but none that is in
// use, however old.
func TestPruneCache(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	put := func(name string, age time.Duration) string {
		file := filepath.Join(dir, strings.Repeat(name, 64), "prog")
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, f := range []string{file, filepath.Join(filepath.Dir(file), lockName)} {
			if err := os.WriteFile(f, make([]byte, 500), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(f, now.Add(-age), now.Add(-age)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chtimes(filepath.Dir(file), now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
		return file
	}
	const day = 24 * time.Hour
	put("a", time.Minute)
	put("b", 2*day)
	put("c", 3*day)
	put("d", 20*day)
	used := put("e", 4*day)
	put("r", 99*day)
	names := func() string {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, e := range entries {
			all = append(all, e.Name()[:1])
		}
		slices.Sort(all)
		return strings.Join(all, "")
	}
	held := holdCached([]string{used})
	for _, tt := range []struct {
		limit int64
		want  string
	}{{1 << 30, "abcer"}, {2500, "aber"}, {0, "aer"}} {
		if err := os.Chtimes(filepath.Join(filepath.Dir(used), lockName), now.Add(-4*day), now.Add(-4*day)); err != nil {
			t.Fatal(err)
		}
		if err := pruneCache(dir, now, cacheDays, tt.limit); err != nil {
			t.Fatal(err)
		}
		if got := names(); got != tt.want {
			t.Errorf("limit %d: %s is left, want %s", tt.limit, got, tt.want)
		}
	}
	letGo(held)
	if err := pruneCache(dir, now, 0, 0); err != nil {
		t.Fatal(err)
	}
	if got := names(); got != "ar" {
		t.Errorf("nobody uses it any more: %s is left, want ar", got)
	}
}
