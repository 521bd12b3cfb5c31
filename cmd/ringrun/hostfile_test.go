package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestHostFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hosts")
	read := func(text string) ([]host, error) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return readHostFile(file)
	}
	got, err := read("# ours\na slots=4\n\n  me@b:2 # fast\nc\n[2001:db8::7] slots=3\n[2001:db8::8]:2")
	want := []host{{name: "a", slots: 4}, {name: "me@b", slots: 2}, {name: "c", slots: 1},
		{name: "2001:db8::7", slots: 3}, {name: "2001:db8::8", slots: 2}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read %v, %v; want %v", got, err, want)
	}
	for text, want := range map[string]string{
		"# nothing\n":        "no host is named",
		"a\nb slots=x":       `line 2: "b:x": "x" is not a number of slots`,
		"a:2 slots=3":        `line 1: "a:2" and "slots=3" both give a number of slots`,
		"a\n\nb gpu=1":       `line 3: "gpu=1": want slots=N`,
		"a\na slots=2":       "host a is named twice",
		"-oProxyCommand=x\n": "line 1: \"-oProxyCommand=x\" is not a host name",
	} {
		if got, err := read(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want an error with %q", text, got, err, want)
		}
	}
}
