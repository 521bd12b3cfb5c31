package main

import (
	"encoding/json"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringrun/ringrun/cmd/ringrun/doctor"
)

func TestDoctorHere(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	text := s.ringrun("doctor").ends(0, `^  ok +localhost +memory +`, `^  ok +localhost +loopback +127\.0\.0\.1 answers$`)
	if strings.Contains(text, "→") {
		t.Errorf("one host, and a way to another:\n%s", text)
	}
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	s.ringrun("doctor", "-port", port).ends(1, `^  fail +localhost +port +.*address already in use`, `^A run would not work\.$`)
	s.ringrun("doctor", "-port", "70000").ends(2)
	s.ringrun("doctor", "-H", "a:0").ends(2)
	s.ringrun("doctor", "-network", "255.255.255.255/32").ends(1,
		`^  fail +localhost +network +it has `, `^  cause:  none of its addresses is in the -network wanted$`)
	s.ringrun("doctor", "-network", "10.0.0.0/99").ends(2, `-network 10.0.0.0/99: `)
	s.ringrun("doctor", "-cache", "here").ends(2, `-cache here: want a path`)
}

func TestDoctorOutOfReach(t *testing.T) {
	t.Parallel()
	newStage(t).withHosts().ringrun("doctor", "-H", "localhost,dead").ends(1,
		`^  ok +localhost +agent `, `^  fail +dead +ssh +ssh: connect to host dead port 22: Connection refused$`, `^  remedy: start sshd there`)
}

// Between two hosts and a router something is wrong; what the doctor finds on the
// way from a to b, and back.
func TestDoctorBetweenHosts(t *testing.T) {
	var cases []story
	for _, tt := range []struct {
		what  string
		quick bool // not only with -long
		ail   func(n *network)
		want  []string // findings that are not ok
		also  string   // a pattern
	}{
		{"all is well", false, func(*network) {}, nil, `^  ok +a → b +path +TCP 10\.77\.1\.2 → 10\.77\.2\.2$`},
		{"a bridge of containers", true, func(n *network) {
			for _, h := range []string{"a", "b"} {
				n.on(h, "link add docker0 type bridge", "addr add 172.17.0.1/16 dev docker0", "link set docker0 up")
			}
		}, nil, `TCP 10\.77\.1\.2 → 10\.77\.2\.2; not by 172\.17\.0\.1 \(both have it\)$`},
		{"a firewall that drops", true, func(n *network) { n.on("r", "rule add ipproto tcp to 10.77.2.2 blackhole") },
			[]string{"fail a → b path: a firewall drops", "fail b → a path: a firewall drops the packets, or the way back"}, `let TCP and UDP from a to ports \d+-\d+ of b pass`},
		{"a firewall that rejects", false, func(n *network) { n.on("r", "rule add ipproto tcp to 10.77.2.2 prohibit") },
			[]string{"fail a → b path: a, or a router, knows no way", "fail b → a path: "}, `no route to host`},
		{"a firewall of its own", false, func(n *network) { n.on("a", "route add prohibit 10.77.2.2/32") },
			[]string{"fail a → b path: a firewall forbids it", "fail b → a path: "}, `permission denied`},
		{"no route", false, func(n *network) { n.on("a", "route del default") },
			[]string{"fail a → b path: a, or a router, knows no way", "fail b → a path: a firewall drops the packets, or the way back"}, `network is unreachable`},
		{"TCP only", true, func(n *network) { n.on("r", "rule add ipproto udp to 10.77.2.2 blackhole") },
			[]string{"fail a → b UDP: TCP reaches 10.77.2.2 and UDP does not", "fail b → a UDP"}, ""},
		{"a black hole for large packets", true, func(n *network) {
			n.on("r", "link set tob mtu 1400", "rule add iif lo ipproto icmp blackhole")
		}, []string{"fail a → b MTU: packets of more than 1400 bytes are lost", "fail a → b bandwidth: short messages arrive", "fail b → a MTU",
			"maybe fail b → a bandwidth: short messages arrive"}, `mtu 1400 on both hosts`},
		{"a router that tells its MTU", false, func(n *network) { n.on("r", "link set tob mtu 1400") }, []string{"fail b → a MTU"}, `^  ok +a → b +MTU +1400 bytes$`},
		{"a slow link", false, func(n *network) {
			n.run("r", "tc", "qdisc", "add", "dev", "tob", "root", "tbf", "rate", "40mbit", "burst", "32kb", "latency", "50ms")
		},
			[]string{"warn a → b speed: the link is slow"}, `Mbit/s, round trip`},
		{"an address that both have", false, func(n *network) {
			n.on("a", "addr add 10.77.2.2/32 dev lo")
		}, []string{"fail a → b path: both hosts have the address 10.77.2.2", "fail b → a path: "}, `an address of its own`},
	} {
		if !tt.quick && !*long {
			continue
		}
		cases = append(cases, story{tt.what, func(t *testing.T) {
			n := newNetwork(t)
			tt.ail(n)
			s := newStage(t).withNetwork(n)
			begin := time.Now()
			l := s.ringrun("doctor", "-json", "-H", "a,b")
			findings := l.findings()
			within(t, time.Since(begin), 20*time.Second)
			checkFindings(t, findings, tt.want)
			if text := asTable(t, findings); !regexp.MustCompile("(?m)" + tt.also).MatchString(text) {
				t.Errorf("no %q in\n%s", tt.also, text)
			}
		}})
	}
	atOnce(t, cases)
}

func asTable(t *testing.T, findings []doctor.Finding) string {
	var b strings.Builder
	if err := doctor.Print(&b, findings, 0, false); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// findings waits for the end and reads what -json has printed.
func (l *launcher) findings() []doctor.Finding {
	l.t.Helper()
	<-l.done
	text, _ := l.output()
	var out struct {
		OK       bool
		Findings []doctor.Finding
	}
	begin := strings.Index(text, "\n{\n") + 1
	if err := json.NewDecoder(strings.NewReader(text[begin:])).Decode(&out); err != nil {
		l.t.Fatalf("%v; ringrun said:\n%s", err, text)
	}
	if status := l.cmd.ProcessState.ExitCode(); out.OK != (status == 0) || out.OK == doctor.Sick(out.Findings) {
		l.t.Errorf("exit status %d, ok %v", status, out.OK)
	}
	return out.Findings
}

// checkFindings compares those about pairs of hosts, names and busy processors
// left out, with what they begin with. One that is wanted "maybe" may be there: in
// the network namespaces long packets get through that way in bursts, and not alone.
func checkFindings(t *testing.T, findings []doctor.Finding, want []string) {
	t.Helper()
	var got []string
	for _, f := range findings {
		// How fast a way is when other tests run as well is found out, too.
		busy := f.Check == "speed" && !strings.HasPrefix(f.Cause, "the link is slow")
		if f.Status != doctor.OK && f.To != "" && f.Check != "name" && !busy {
			got = append(got, string(f.Status)+" "+f.Where()+" "+f.Check+": "+f.Cause)
		}
	}
	want = slices.DeleteFunc(slices.Clone(want), func(w string) bool {
		begin, maybe := strings.CutPrefix(w, "maybe ")
		return maybe && !slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, begin) })
	})
	for i, line := range got {
		if i >= len(want) || !strings.HasPrefix(line, strings.TrimPrefix(want[i], "maybe ")) {
			t.Errorf("findings\n%s\nwant those that begin with\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			return
		}
	}
	if len(got) != len(want) {
		t.Errorf("findings\n%s\nwant also\n%s", strings.Join(got, "\n"), strings.Join(want[len(got):], "\n"))
	}
}
