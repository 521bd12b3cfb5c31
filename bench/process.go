package bench

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"time"
)

// graceTimeout is how long a peer may take to end when it is told to.
const graceTimeout = 3 * time.Second

// process is a peer that was started.
type process struct {
	cmd    *exec.Cmd
	stdout io.Reader // its news
	events *os.File  // what elastic reports
}

// spawn starts peer i and tells it the job. When the group's context ends its
// standard input is closed, and a little later it is killed.
func (g *group) spawn(i int, founder string) (*process, error) {
	input, err := json.Marshal(order{Peers: g.Peers, Job: g.Job})
	if err != nil {
		return nil, err
	}
	command := g.Command
	if ns := g.netns(i); ns.Name != "" {
		command = append([]string{"ip", "netns", "exec", ns.Name}, command...)
	}
	cmd := exec.CommandContext(g.ctx, command[0], command[1:]...)
	cmd.Env = g.env(i, founder)
	cmd.Stderr = g.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Cancel = stdin.Close
	cmd.WaitDelay = graceTimeout
	events, err := startReporting(cmd)
	if err != nil {
		return nil, err
	}
	_, _ = stdin.Write(append(input, '\n')) // who does not get this ends with an error
	return &process{cmd, stdout, events}, nil
}

// startReporting starts cmd with the end of a pipe as file descriptor 3, and
// returns the other end.
func startReporting(cmd *exec.Cmd) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.ExtraFiles = []*os.File{w}
	err = cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func (g *group) env(i int, founder string) []string {
	env := append(os.Environ(), g.Env...)
	env = append(env,
		"RINGRUN_RUN="+g.run,
		"RINGRUN_SECRET="+g.secret,
		"RINGRUN_ID="+g.id(i)+"-"+randomHex(2),
		"RINGRUN_BIND="+net.JoinHostPort(cmp.Or(g.netns(i).Addr, "127.0.0.1"), "0"),
		"RINGRUN_ADVERTISE=",
		"RINGRUN_FOUND=",
		"RINGRUN_JOIN=",
		fmt.Sprintf("RINGRUN_EXPECT=%d", g.Peers),
		"RINGRUN_MIN_N=1", // Serve itself measures with all peers or not at all
		"RINGRUN_TRANSPORT="+g.Transport,
		"RINGRUN_CODEC="+g.Codec,
		"RINGRUN_SILENCE="+cmp.Or(os.Getenv("RINGRUN_SILENCE"), "5s"), // peers may outnumber processors by far
		"RINGRUN_REPORT=3",
	)
	if g.Hosts > 0 {
		env = append(env, fmt.Sprintf("RINGRUN_HOST=host-%d", i*g.Hosts/g.Peers))
	}
	if i == 0 {
		return append(env, "RINGRUN_FOUND=1")
	}
	return append(env, "RINGRUN_JOIN="+founder)
}

// netns returns the namespace of a peer, or none.
func (g *group) netns(i int) Netns {
	if len(g.Netns) == 0 {
		return Netns{}
	}
	return g.Netns[i*len(g.Netns)/g.Peers]
}

// listen reads what elastic reports until the process ends, and passes on the
// first address at which it listens.
func (p *process) listen(addr chan<- string) {
	for dec := json.NewDecoder(p.events); ; {
		var e struct{ Event, Addr string }
		if dec.Decode(&e) != nil {
			return
		}
		if e.Event == "listening" {
			select {
			case addr <- e.Addr:
			default: // only the founder's first address is waited for
			}
		}
	}
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b) // never fails: see its documentation
	return hex.EncodeToString(b)
}
