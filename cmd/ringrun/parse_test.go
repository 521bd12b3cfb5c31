package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestParseHosts(t *testing.T) {
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		list string
		want []host
	}{
		{"", nil},
		{"a:2,b:1", []host{{name: "a", slots: 2, local: false}, {name: "b", slots: 1, local: false}}},
		{"a,me@b.example:3", []host{{name: "a", slots: 1, local: false}, {name: "me@b.example", slots: 3, local: false}}},
		{"localhost:4", []host{{name: "localhost", slots: 4, local: true}}},
		{own, []host{{name: own, slots: 1, local: true}}},
		{"127.0.0.1:2,me@localhost", []host{{name: "127.0.0.1", slots: 2, local: true}, {name: "me@localhost", slots: 1, local: false}}},
		{"[::1]:2", []host{{name: "::1", slots: 2, local: true}}},
		{"[2001:db8::7],me@[2001:db8::8]:3", []host{{name: "2001:db8::7", slots: 1, local: false}, {name: "me@2001:db8::8", slots: 3, local: false}}},
		{"[fe80::1%eth0]:2", []host{{name: "fe80::1%eth0", slots: 2, local: false}}},
	} {
		got, err := parseHosts(tt.list)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("parseHosts(%q) = %v, %v; want %v", tt.list, got, err, tt.want)
		}
	}
	for list, want := range map[string]string{
		"a,":         `"" is not a host name`,
		"a:":         `"" is not a number of slots`,
		"a:-1":       `"-1" is not a number of slots`,
		"a,b,a:2":    "host a is named twice",
		"::1":        "an IPv6 address stands in brackets",
		"[a]:2":      `"[a]:2" is not [address]:slots`,
		"[::1]2":     `"[::1]2" is not [address]:slots`,
		"]::1[":      `"]::1[" is not [address]:slots`,
		"-oProxy=x":  `"-oProxy=x" is not a host name`,
		"a;reboot":   `"a;reboot" is not a host name`,
		"$(reboot)":  `"$(reboot)" is not a host name`,
		"a b":        `"a b" is not a host name`,
		"@a":         `"@a" is not a host name`,
		"me@:2":      `"me@" is not a host name`,
		"me@a@b\x00": "is not a host name",
	} {
		if got, err := parseHosts(list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parseHosts(%q) = %v, %v; want an error with %q", list, got, err, want)
		}
	}
}

func TestPlaceWorkers(t *testing.T) {
	hosts := []host{{name: "a", slots: 2}, {name: "b", slots: 1}, {name: "c", slots: 3}}
	for n, want := range map[int][]int{0: {0, 0, 1, 2, 2, 2}, 1: {0}, 3: {0, 0, 1}, 4: {0, 0, 1, 2}, 6: {0, 0, 1, 2, 2, 2}, 7: nil} {
		got, err := placeWorkers(hosts, n)
		if !slices.Equal(got, want) || (err != nil) != (want == nil) {
			t.Errorf("placeWorkers(a:2,b:1,c:3, %d) = %v, %v; want %v", n, got, err, want)
		}
	}
}

func TestProgramArgs(t *testing.T) {
	for _, tt := range []struct{ raw, parsed, want []string }{
		{nil, nil, nil},
		{[]string{"-n", "2", "p", "-x"}, []string{"p", "-x"}, []string{"p", "-x"}},
		{[]string{"-n", "2", "p", "--", "x"}, []string{"p", "x"}, []string{"p", "--", "x"}},
		{[]string{"-n", "2", "--", "p", "x"}, []string{"p", "x"}, []string{"p", "x"}},
		{[]string{"p", "--"}, []string{"p"}, []string{"p", "--"}},
		{[]string{"p", "a", "--", "x"}, []string{"p", "a", "--", "x"}, []string{"p", "a", "--", "x"}},
	} {
		if got := programArgs(tt.parsed, tt.raw); !slices.Equal(got, tt.want) {
			t.Errorf("programArgs(%q, %q) = %q, want %q", tt.parsed, tt.raw, got, tt.want)
		}
	}
}

func TestPeerIDsSort(t *testing.T) {
	var ids []string
	for i := range 101 {
		ids = append(ids, peerID(i, 101, false))
	}
	if !slices.IsSorted(ids) || len(ids[0]) != len("p000-1234") {
		t.Errorf("IDs of 101 peers: %q", ids)
	}
}

func TestBindAddress(t *testing.T) {
	outside := "" // an address of this machine beyond loopback, if it has one
	for _, ip := range ownAddresses() {
		if ip.IsGlobalUnicast() {
			outside = ip.String()
			break
		}
	}
	for _, tt := range []struct {
		reached, toward []string
		want            string
	}{
		{nil, nil, "127.0.0.1"},
		{nil, []string{"127.0.0.1"}, "127.0.0.1"},
		{nil, []string{"::1"}, "::1"},
	} {
		if net.ParseIP(tt.want).Equal(net.IPv6loopback) && sourceAddress("::1") == nil {
			continue // no IPv6 here
		}
		if got := bindAddress(tt.reached, tt.toward); got != tt.want {
			t.Errorf("bindAddress(%q, %q) = %s, want %s", tt.reached, tt.toward, got, tt.want)
		}
	}
	if outside == "" {
		t.Skip("this machine has loopback only")
	}
	for _, tt := range []struct{ reached, toward []string }{
		{[]string{"127.0.0.1", outside}, []string{"127.0.0.1"}},
		{nil, []string{"127.0.0.1", outside}},
		{[]string{"192.0.2.1"}, []string{outside}}, // behind a translator: not an address of ours
		{[]string{"localhost.invalid"}, nil},
	} {
		if got := bindAddress(tt.reached, tt.toward); got != outside {
			t.Errorf("bindAddress(%q, %q) = %s, want %s", tt.reached, tt.toward, got, outside)
		}
	}
}

func TestPlatform(t *testing.T) {
	for uname, want := range map[string]string{
		"Linux x86_64": "linux/amd64", "Linux aarch64": "linux/arm64", "Darwin arm64": "darwin/arm64",
		"Linux armv7l": "linux/arm", "Linux i686": "linux/386", "Linux riscv64": "linux/riscv64",
	} {
		if got := platform(uname); got != want {
			t.Errorf("platform(%q) = %s, want %s", uname, got, want)
		}
	}
}

func TestEachLine(t *testing.T) {
	long := strings.Repeat("y", 200_000)
	endless := strings.Repeat("z", 2*maxLine+5)
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"\n", []string{""}},
		{"a\nb\n", []string{"a", "b"}},
		{"a\n\nb", []string{"a", "", "b"}},
		{"a\xff\r\nb", []string{"a\xff\r", "b"}},
		{"a\n" + long + "\nb\n" + long, []string{"a", long, "b", long}},
		{endless + "\nb", []string{endless[:maxLine], endless[:maxLine], "zzzzz", "b"}},
	} {
		var got []string
		eachLine(iotest.HalfReader(strings.NewReader(tt.text)), func(line []byte) { got = append(got, string(line)) })
		if !slices.Equal(got, tt.want) {
			t.Errorf("%.40q… gives %d lines %.80q, want %d", tt.text, len(got), fmt.Sprint(got), len(tt.want))
		}
	}
}

func TestPrinter(t *testing.T) {
	var out, err bytes.Buffer
	p := &printer{out: stream{w: &out}, err: stream{w: &err, colour: true}}
	p.line(2, false, []byte("plain"))
	p.line(12, true, []byte("coloured"))
	p.note("view %d", 3)
	if got, want := out.String(), "[2] plain\n"; got != want {
		t.Errorf("stdout %q, want %q", got, want)
	}
	if got, want := err.String(), "\x1b[33m[12]\x1b[0m coloured\n\x1b[1mringrun:\x1b[22m view 3\n"; got != want {
		t.Errorf("stderr %q, want %q", got, want)
	}
}

func TestViewLog(t *testing.T) {
	l := viewLog{founding: true, index: map[string]int{"p0-a": 0, "p1-b": 1, "p2-c": 2}, finished: map[string]bool{}}
	for _, tt := range []struct {
		epoch    uint64
		peers    string
		finished string
		want     string
	}{
		{1, "p0-a", "", ""}, // the founder alone
		{2, "p0-a p1-b p2-c", "", "view 2: 3 peers"},
		{2, "p0-a p1-b p2-c", "", ""}, // another worker says so too
		{3, "p0-a p2-c", "", "view 3: 2 peers (p1 was lost)"},
		{2, "p0-a p1-b p2-c", "", ""}, // late
		{4, "p0-a p2-c p0-fedcba98", "", "view 4: 3 peers (p0-fedcba98 joined)"},
		{6, "p0-fedcba98", "", "view 6: 1 peer (p0, p2 were lost)"},
		{7, "p0-fedcba98 p9 p8", "", "view 7: 3 peers (p9, p8 joined)"},
		{8, "p0-fedcba98 p8", "p9", ""}, // that one is through
		{9, "p0-fedcba98 p7", "p8", "view 9: 2 peers (p8 has finished; p7 joined)"},
	} {
		if tt.finished != "" {
			l.finished[tt.finished] = true
		}
		l.add(tt.epoch, strings.Fields(tt.peers))
		got := strings.Join(l.lines(false, func(int) bool { return false }), "; ")
		if got != tt.want {
			t.Errorf("view %d of %s: %q, want %q", tt.epoch, tt.peers, got, tt.want)
		}
	}
}

// The others may tell of a view without a worker before it tells of its own end.
func TestViewWaitsForTheWorkersEnd(t *testing.T) {
	running := []bool{true, true, true}
	l := viewLog{index: map[string]int{"p0": 0, "p1": 1, "p2": 2}, finished: map[string]bool{}}
	lines := func(all bool) string {
		return strings.Join(l.lines(all, func(w int) bool { return running[w] }), "; ")
	}
	expect := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	l.add(2, []string{"p0", "p1", "p2"})
	expect("all are there", lines(false), "view 2: 3 peers")
	l.add(3, []string{"p0", "p1"})
	expect("p2 runs, as far as we know", lines(false), "")
	running[2] = false
	expect("p2 was killed", lines(false), "view 3: 2 peers (p2 was lost)")
	l.add(4, []string{"p0"})
	expect("p1 runs", lines(false), "")
	l.finished["p1"] = true
	expect("p1 has finished", lines(false), "")
	l.add(5, []string{"p1"})
	l.add(6, []string{"p1", "p0"})
	expect("p0 runs", lines(false), "")
	expect("p0 runs and is cut off", lines(true), "view 5: 1 peer (p0 was lost; p1 joined); view 6: 2 peers (p0 joined)")
}
