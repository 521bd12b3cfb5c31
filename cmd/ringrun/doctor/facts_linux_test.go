package doctor

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

func TestGather(t *testing.T) {
	dir := t.TempDir()
	f := Gather(t.Context(), Query{Names: []string{"localhost"}, Dirs: []string{dir, filepath.Join(dir, "file", "x")}})
	if f.Kernel == "" || f.Cores < 1 || f.Memory == 0 || f.Files == 0 || len(f.Names["localhost"]) == 0 || f.Loopback != "" {
		t.Errorf("this host: %+v", f)
	}
	if d := f.Folders[len(f.Folders)-1]; d.Error != "" || !d.Sized || d.Free == 0 {
		t.Errorf("folder that can be made: %+v", d)
	}
	if err := os.WriteFile(filepath.Join(dir, "no"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if d := lookInto(filepath.Join(dir, "no", "x"), UseData); d.Error == "" || !d.Sized {
		t.Errorf("a folder under a file: %+v", d)
	}
}

// With -cache, nobody asks for the cache folder of the user.
func TestGatherCache(t *testing.T) {
	t.Setenv("HOME", "")
	t.Setenv("XDG_CACHE_HOME", "")
	dir := filepath.Join(t.TempDir(), "copies")
	if f := Gather(t.Context(), Query{Cache: dir}); f.Homeless != "" || len(f.Folders) != 1 || f.Folders[0].Path != dir || f.Folders[0].Use != UseCache {
		t.Errorf("with a folder of its own: %q, %+v", f.Homeless, f.Folders)
	}
	if f := Gather(t.Context(), Query{}); f.Homeless == "" || len(f.Folders) != 0 {
		t.Errorf("without: %q, %+v", f.Homeless, f.Folders)
	}
}

// Many names that no server knows take no longer than one.
func TestLookUpAll(t *testing.T) {
	old := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = old })
	var open atomic.Int32
	three := make(chan struct{}, 100)
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		defer open.Add(-1)
		if open.Add(1) >= 3 { // of one name there are two at most: A and AAAA
			three <- struct{}{}
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan map[string][]string, 1)
	go func() {
		done <- lookUpAll(ctx, []string{"a.invalid", "", "localhost", "b.invalid", "c.invalid", "a.invalid"})
	}()
	select {
	case <-three:
	case all := <-done:
		t.Fatalf("one after another: %v", all)
	}
	cancel()
	if all := <-done; len(all) != 4 || len(all["localhost"]) == 0 || all["a.invalid"] != nil {
		t.Errorf("%v", all)
	}
}

// The narrowest of a group and those above it counts.
func TestConfine(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"a/b/cpu.max": "400000 100000\n", "a/cpu.max": "150000 100000\n", "cpu.max": "max 100000\n",
		"a/b/memory.max": "max\n", "a/memory.max": "1000\n", "a/memory.current": "400\n",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := Facts{Memory: 5000}
	f.confine("1:name=x:/y\n0::/a/b\n", root)
	if f.Quota != 1.5 || f.Memory != 600 {
		t.Errorf("quota %v, memory %d; want 1.5, 600", f.Quota, f.Memory)
	}
}

// A group that is full of copies of files has room, and one that is full of other
// things has none.
func TestConfineMemory(t *testing.T) {
	for _, tt := range []struct {
		limit, used, stat string
		want              int64
	}{
		{"1000", "400", "", 600},
		{"1000", "990", "anon 90\nfile 900\nactive_file 300\ninactive_file 600\n", 910},
		{"1000", "990", "active_file 1\ninactive_file 2\ntotal_active_file 300\ntotal_inactive_file 600\n", 910},
		{"1000", "1000", "inactive_file 0\n", 1},
		{"1000", "500", "inactive_file 700\n", 1000},
		{"max", "500", "", 5000},
	} {
		f := Facts{Memory: 5000}
		if f.limitMemory(tt.limit+"\n", tt.used+"\n", tt.stat); f.Memory != tt.want {
			t.Errorf("limit %s, used %s, %q: %d, want %d", tt.limit, tt.used, tt.stat, f.Memory, tt.want)
		}
	}
}
