package doctor

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Each two hosts meet once, and nobody is in two pairs of a round.
func TestRounds(t *testing.T) {
	for n := range 18 {
		met := map[[2]int]int{}
		for _, round := range Rounds(n) {
			busy := map[int]bool{}
			for _, p := range round {
				if busy[p[0]] || busy[p[1]] || p[0] >= p[1] || p[1] >= n {
					t.Fatalf("%d hosts: round %v", n, round)
				}
				busy[p[0]], busy[p[1]] = true, true
				met[p]++
			}
		}
		if len(met) != n*(n-1)/2 {
			t.Errorf("%d hosts: %d pairs meet", n, len(met))
		}
		for p, times := range met {
			if times != 1 {
				t.Errorf("%d hosts: %v meet %d times", n, p, times)
			}
		}
	}
}

func well() Facts {
	return Facts{
		Hostname: "a", Addrs: []string{"10.0.0.1"}, Names: map[string][]string{"a": {"10.0.0.1"}, "b": {"10.0.0.2"}},
		Same: "a", Platform: "linux/amd64", Kernel: "6.1", Cores: 8, Features: []string{"AVX2"}, Memory: 8 << 30, Files: 1 << 16,
		Folders: []Folder{{Path: "/c", Use: UseCache, Free: 9 << 30, Sized: true}},
	}
}

func TestJudgeHost(t *testing.T) {
	plan := Plan{Slots: 2, Peers: 4, Hosts: 2}
	for _, f := range JudgeHost("a", well(), plan) {
		if f.Status != OK || f.Host != "a" {
			t.Errorf("of a host that is well: %+v", f)
		}
	}
	for _, tt := range []struct {
		what   string
		ill    func(*Facts)
		status Status
		check  string
		cause  string
	}{
		{"no name", func(f *Facts) { f.Hostname = "" }, Warn, "own name", "no name"},
		{"own name unknown", func(f *Facts) { f.Names = nil }, Warn, "own name", "neither /etc/hosts nor DNS"},
		{"own name is loopback", func(f *Facts) { f.Names["a"] = []string{"127.0.1.1"} }, Warn, "own name", "loopback address"},
		{"lo is down", func(f *Facts) { f.Loopback = "no" }, Fail, "loopback", "lo is down"},
		{"no address", func(f *Facts) { f.Addrs = nil }, Fail, "addresses", "no interface"},
		{"no shared memory", func(f *Facts) { f.NoShared = "memfd_create: EPERM" }, Warn, "shared memory", "TCP instead"},
		{"a quota", func(f *Facts) { f.Quota = 1.5 }, Warn, "processor", "2 peers are to share 1.5 cores"},
		{"busy", func(f *Facts) { f.Load = 20 }, Warn, "processor", "other programs"},
		{"old processor", func(f *Facts) { f.Lacks = []string{"AVX2"} }, Warn, "processor", "lacks AVX2"},
		{"little memory", func(f *Facts) { f.Memory = 100 << 20 }, Warn, "memory", "little"},
		{"no memory", func(f *Facts) { f.Memory = 10 << 20 }, Fail, "memory", "killed"},
		{"few files", func(f *Facts) { f.Files = 70 }, Fail, "open files", "may open 70 files"},
		{"not many files", func(f *Facts) { f.Files = 256 }, Warn, "open files", "may open 256 files"},
		{"disk full", func(f *Facts) { f.Folders[0].Free = 0 }, Fail, "folders", "the disk is full"},
		{"no inodes", func(f *Facts) { f.Folders[0].Inodes = true }, Fail, "folders", "the disk is full"},
		{"disk almost full", func(f *Facts) { f.Folders[0].Free = 10 << 20 }, Fail, "folders", "not enough room"},
		{"little disk", func(f *Facts) { f.Folders[0].Free = 100 << 20 }, Warn, "folders", "little"},
		{"read-only", func(f *Facts) { f.Folders[0].Error = "read-only file system" }, Fail, "folders", "nothing can be written"},
		{"noexec", func(f *Facts) { f.Folders[0].NoExec = true }, Fail, "folders", "noexec"},
		{"homeless", func(f *Facts) { f.Homeless, f.Folders = "$HOME is not defined", nil }, Fail, "folders", "no place"},
		{"port taken", func(f *Facts) { f.PortBusy = "address already in use" }, Fail, "port", "another process"},
	} {
		f := well()
		tt.ill(&f)
		bad := 0
		for _, g := range JudgeHost("a", f, plan) {
			if g.Status == OK {
				continue
			}
			bad++
			if g.Status != tt.status || g.Check != tt.check || !strings.Contains(g.Cause, tt.cause) || g.Remedy == "" {
				t.Errorf("%s: %+v; want %s of %s because %q", tt.what, g, tt.status, tt.check, tt.cause)
			}
		}
		if bad != 1 {
			t.Errorf("%s: %d findings, want 1", tt.what, bad)
		}
	}
}

func TestJudgeClock(t *testing.T) {
	for _, tt := range []struct {
		ahead, unsure time.Duration
		want          Status
	}{
		{0, time.Millisecond, OK}, {time.Second, 0, OK}, {-5 * time.Second, 4 * time.Second, OK},
		{time.Hour, time.Millisecond, Warn}, {-time.Hour, time.Millisecond, Warn}, {48 * time.Hour, 0, Fail}, {-48 * time.Hour, 0, Fail},
	} {
		if got := JudgeClock("a", tt.ahead, tt.unsure); got.Status != tt.want {
			t.Errorf("clock ahead by %v ± %v: %+v, want %s", tt.ahead, tt.unsure, got, tt.want)
		}
	}
	if got := JudgeClock("a", -time.Hour, time.Millisecond).Found; got != "1h0m0s behind this host's, ± 1ms" {
		t.Errorf("an hour behind is told as %q", got)
	}
}

func TestJudgePair(t *testing.T) {
	good := Way{Addr: "10.0.0.2", From: "10.0.0.1", TCP: Reached, UDP: Reached, RTT: 200 * time.Microsecond, Bandwidth: 1e8, MTU: MTU{1500, 1500}}
	to := well()
	to.Same, to.Addrs, to.Ports = "b", []string{"10.0.0.2"}, "32768-60999"
	pair := func(ways ...Way) Pair {
		return Pair{From: "a", To: "b", FromFacts: well(), ToFacts: to, Ways: ways, Back: 1e8}
	}
	for _, f := range JudgePair(pair(good, Way{Addr: "10.9.9.9", TCP: Silent})) {
		if f.Status != OK || f.To != "b" {
			t.Errorf("of a way that is well: %+v", f)
		}
	}
	ill := func(change func(*Way)) Pair {
		w := good
		change(&w)
		return pair(w)
	}
	way := func(v Verdict) Pair { return pair(Way{Addr: "10.0.0.2", TCP: v, Said: "no"}) }
	slowBack := pair(good)
	slowBack.Back = 1e9
	for _, tt := range []struct {
		what         string
		pair         Pair
		status       Status
		check, cause string
		remedy       string
	}{
		{"no address", pair(), Fail, "path", "no address", "network"},
		{"refused", way(Refused), Fail, "path", "a firewall rejects", "32768-60999"},
		{"silent", way(Silent), Fail, "path", "a firewall drops", "32768-60999"},
		{"unreachable", way(Unreachable), Fail, "path", "knows no way", "ip route get 10.0.0.2"},
		{"prohibited", way(Prohibited), Fail, "path", "forbids", "32768-60999"},
		{"stranger", way(Stranger), Fail, "path", "something else answers", "ip neigh"},
		{"who", pair(Way{Addr: "10.0.0.2", TCP: Stranger, Who: "c"}), Fail, "path", "c answers instead", "ip neigh"},
		{"loopback", pair(Way{Addr: "127.0.1.1", TCP: Refused}), Fail, "path", "loopback address", "name the hosts in -H by addresses"},
		{"another way", pair(Way{Addr: "10.0.0.2", TCP: Silent}, Way{Addr: "10.1.0.2", TCP: Reached}), Fail, "path", "does not reach", "10.1.0.2"},
		{"no UDP", ill(func(w *Way) { w.UDP = Silent }), Fail, "UDP", "only TCP", "UDP"},
		{"black hole", ill(func(w *Way) { w.MTU.Passes = 1400 }), Fail, "MTU", "more than 1400 bytes are lost", "mtu 1400"},
		{"blacker hole", ill(func(w *Way) { w.MTU.Passes = 0 }), Fail, "MTU", "no large packet", "mtu 1280"},
		{"small packets", ill(func(w *Way) { w.MTU = MTU{576, 576} }), Warn, "MTU", "very small", "mtu 1500"},
		{"stalled", ill(func(w *Way) { w.Stalled = true }), Fail, "bandwidth", "long ones do not", "MTU"},
		{"slow", ill(func(w *Way) { w.Bandwidth = 1e6 }), Warn, "speed", "slow", "-codec half"},
		{"lopsided", slowBack, Warn, "speed", "10 times as fast", "ethtool"},
		{"far", ill(func(w *Way) { w.RTT = 50 * time.Millisecond }), Warn, "speed", "far apart", "batch"},
	} {
		bad := 0
		for _, g := range JudgePair(tt.pair) {
			if g.Status == OK {
				continue
			}
			bad++
			if g.Status != tt.status || g.Check != tt.check || !strings.Contains(g.Cause, tt.cause) || !strings.Contains(g.Remedy, tt.remedy) {
				t.Errorf("%s: %+v; want %s of %s because %q, and %q", tt.what, g, tt.status, tt.check, tt.cause, tt.remedy)
			}
		}
		if bad != 1 {
			t.Errorf("%s: %d findings, want 1", tt.what, bad)
		}
	}
	both := Way{Addr: "172.17.0.1", TCP: Stranger, Who: "a"}
	q := pair(good, both)
	q.FromFacts.Addrs = append(q.FromFacts.Addrs, "172.17.0.1")
	if got := JudgePair(q)[0]; got.Status != OK || !strings.Contains(got.Found, "not by 172.17.0.1 (both have it)") {
		t.Errorf("an address that both have: %+v", got)
	}
}

func TestJudgeName(t *testing.T) {
	other := Facts{Addrs: []string{"10.0.0.2"}}
	for name, want := range map[string]Status{"b": OK, "me@b": OK, "c": Warn, "stale": Warn} {
		f := well()
		f.Names["stale"] = []string{"127.0.0.1"}
		if got := JudgeName("a", name, f, other); len(got) != 1 || got[0].Status != want {
			t.Errorf("name %s: %+v, want %s", name, got, want)
		}
	}
	if got := JudgeName("a", "10.0.0.2", well(), other); len(got) != 0 {
		t.Errorf("an address is judged as a name: %+v", got)
	}
}

// Here a host examines itself, with somebody at another port who is no doctor.
func TestProbe(t *testing.T) {
	var s Servant
	s.Bind = func(reached, _ []string) string { return reached[0] }
	defer s.Close()
	token := newToken()
	opened := s.Serve(t.Context(), Request{ID: 1, Open: &Open{Name: "here", Token: token, Reached: []string{"127.0.0.1"}}})
	if opened.Error != "" || opened.Use != "127.0.0.1" || opened.ID != 1 {
		t.Fatalf("open: %+v", opened)
	}
	if again := s.Serve(t.Context(), Request{Open: &Open{Token: token, Reached: []string{""}}}); again.Error == "" {
		t.Error("it opens twice")
	}
	target := Target{Host: "here", Addrs: []string{"127.0.0.1"}, Port: opened.Port, Token: token}
	w := s.Serve(t.Context(), Request{Target: &target}).Ways[0]
	if w.TCP != Reached || w.UDP != Reached || w.RTT <= 0 || w.Stalled || w.Bandwidth < 1e6 {
		t.Errorf("to itself: %+v", w)
	}
	if w.MTU.Believed != w.MTU.Passes {
		t.Errorf("loopback has a black hole: %+v", w.MTU)
	}
	wrong := target
	wrong.Host = "there"
	if w := Probe(t.Context(), wrong)[0]; w.TCP != Stranger || w.Who != "here" {
		t.Errorf("another host: %+v", w)
	}
	wrong = target
	wrong.Token = newToken()
	if w := Probe(t.Context(), wrong)[0]; w.TCP != Stranger || w.Who != "" {
		t.Errorf("another examination: %+v", w)
	}
	wrong = target
	wrong.Port = closedPort(t)
	if w := Probe(t.Context(), wrong)[0]; w.TCP != Refused {
		t.Errorf("nobody listens: %+v", w)
	}
}

func closedPort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Strangers get no answer, however much they say.
func TestEchoKeepsQuiet(t *testing.T) {
	e, err := listenEcho("127.0.0.1", newToken(), "here")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(e.Port())))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(make([]byte, 17)); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); len(b) > 0 {
		t.Errorf("a stranger is told %q, %v", b, err)
	}
}

func TestLargest(t *testing.T) {
	sizes := []int{1, 2, 3, 5, 8}
	for limit, want := range map[int]int{0: 0, 1: 1, 4: 3, 8: 8, 9: 8} {
		if got := largest(sizes, func(n int) bool { return n <= limit }); got != want {
			t.Errorf("up to %d passes: %d, want %d", limit, got, want)
		}
	}
}

func TestExplain(t *testing.T) {
	for said, want := range map[string][2]string{
		"me@h: Permission denied (publickey,password).\n":                                           {"accepts none of the keys", "ssh-copy-id h"},
		"@@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.": {"another key than when", "ssh-keygen -R h"},
		"No ED25519 host key is known for h\nHost key verification failed.\n":                       {"never said that the host's key", "ssh-keyscan h"},
		"ssh: Could not resolve hostname h: Name or service not known":                              {"neither /etc/hosts nor DNS", "spelling"},
		"ssh: connect to host h port 22: Connection refused":                                        {"no sshd listens", "systemctl start sshd"},
		"ssh: connect to host h port 22: No route to host":                                          {"does not answer on its network", "ping h"},
		"ssh: connect to host h port 22: Connection timed out":                                      {"firewall drops", "port 22"},
		"mkdir: cannot create directory '/x': Read-only file system":                                {"cannot be written", "remount,rw"},
		"mkdir: cannot create directory '/x': Permission denied":                                    {"cannot be made", "write there"},
		"cat: write error: No space left on device":                                                 {"full", "free some"},
		"sh: 1: exec: /x/ringrun: Permission denied":                                                {"noexec", "remount,exec"},
		"sh: /x/ringrun: cannot execute binary file: Exec format error":                             {"another processor", "GOARCH"},
		`exec: "ssh": executable file not found in $PATH`:                                           {"no ssh client", "install"},
	} {
		got := Explain("h", said)
		if got == nil || !strings.Contains(got.Cause, want[0]) || !strings.Contains(got.Remedy, want[1]) {
			t.Errorf("%q is explained by %+v, want %q", said, got, want)
		}
	}
	if got := Explain("h", "exit status 7"); got != nil {
		t.Errorf("what nobody knows is explained: %+v", got)
	}
}

func TestPrint(t *testing.T) {
	findings := []Finding{
		{Status: OK, Host: "a", Check: "memory", Found: "8 GiB free"},
		{Status: Fail, Host: "a", To: "b", Check: "path", Found: "10.0.0.2: no", Cause: "a firewall", Remedy: "let it pass"},
	}
	var b bytes.Buffer
	if err := Print(&b, findings, 100, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ok     a       memory", "fail   a → b   path", "  cause:  a firewall\n  remedy: let it pass\n", "A run would not work.\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "\x1b") {
		t.Errorf("there are colours in\n%q", b.String())
	}
	b.Reset()
	if err := Print(&b, findings[:1], 0, true); err != nil || !strings.Contains(b.String(), "\x1b[") || !strings.Contains(b.String(), "All is well.") {
		t.Errorf("in colour: %q, %v", b.String(), err)
	}
}

func TestTokenIsText(t *testing.T) {
	token := newToken()
	b, err := json.Marshal(Target{Token: token})
	var back Target
	if err == nil {
		err = json.Unmarshal(b, &back)
	}
	if err != nil || back.Token != token {
		t.Errorf("%s gives %x, %v; want %x", b, back.Token, err, token)
	}
	for _, bad := range []string{"", "12", strings.Repeat("x", 32)} {
		if new(Token).UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q is a token", bad)
		}
	}
}
