package membership

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestDialects(t *testing.T) {
	secret := strings.Repeat("5a", minSecret)
	from := func(env ...string) (Config, error) {
		for _, name := range []string{"RINGRUN_SECRET", "RINGRUN_FOUND", "RINGRUN_JOIN", "MASTER_ADDR", "MASTER_PORT",
			"RANK", "WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS",
			"JOB_COMPLETION_INDEX", "RINGRUN_PEERS", "RINGRUN_BIND", "RINGRUN_ID", "RINGRUN_JOIN_WAIT"} {
			t.Setenv(name, "")
		}
		for _, v := range env {
			name, value, _ := strings.Cut(v, "=")
			t.Setenv(name, value)
		}
		return FromEnv()
	}
	meet := []string{"RINGRUN_SECRET=" + secret, "MASTER_ADDR=127.0.0.1", "MASTER_PORT=4711"}
	for _, d := range dialects {
		c, err := from(append(meet, d.rank+"=0", d.size+"=3")...)
		if err != nil || !c.Found || c.Bind != "127.0.0.1:4711" || c.Expect != 3 {
			t.Errorf("%s=0: %+v, %v", d.rank, c, err)
		}
		c, err = from(append(meet, d.rank+"=2", d.size+"=3")...)
		if err != nil || c.Found || len(c.Join) != 1 || c.Join[0] != "127.0.0.1:4711" || c.Bind != "127.0.0.1:0" {
			t.Errorf("%s=2: %+v, %v", d.rank, c, err)
		}
	}
	if c, err := from(append(meet, "RANK=1", "WORLD_SIZE=2", "RINGRUN_FOUND=1")...); err != nil || !c.Found || c.Bind != "" {
		t.Errorf("our own words count less: %+v, %v", c, err)
	}
	again := append(meet, "RINGRUN_PEERS=127.0.0.1:4711,127.0.0.2:4711", "RINGRUN_BIND=127.0.0.1:4712", "RINGRUN_JOIN_WAIT=10m", "WORLD_SIZE=2")
	c, err := from(append(again, "JOB_COMPLETION_INDEX=0")...)
	if err != nil || !c.Found || strings.Join(c.Join, " ") != "127.0.0.2:4711" || c.Bind != "127.0.0.1:4712" || !strings.HasPrefix(c.ID, "p0-") {
		t.Errorf("the first, started anew: %+v, %v", c, err)
	}
	c, err = from(append(again, "JOB_COMPLETION_INDEX=1")...)
	if err != nil || c.Found || strings.Join(c.Join, " ") != "127.0.0.1:4711 127.0.0.2:4711" || c.JoinWait != 10*time.Minute {
		t.Errorf("the second, started anew: %+v, %v", c, err)
	}
	if c, err := from("RANK=0", "WORLD_SIZE=1"); err != nil || !c.Found {
		t.Errorf("one process: %+v, %v", c, err)
	}
	if own, err := os.Hostname(); err == nil { // a name of this host: whatever it means here, others must reach it
		c, err := from(append(meet, "RANK=0", "WORLD_SIZE=2", "MASTER_ADDR="+own)...)
		if err == nil && c.Bind != own+":4711" && (c.Bind != "0.0.0.0:4711" || c.Advertise == "") {
			t.Errorf("at its own name: %+v", c)
		}
	}
	for want, env := range map[string][]string{
		"one of 2 processes, but RINGRUN_SECRET is not set": {"OMPI_COMM_WORLD_RANK=0", "OMPI_COMM_WORLD_SIZE=2"},
		"but not MASTER_ADDR and MASTER_PORT":               {"RINGRUN_SECRET=" + secret, "RANK=0", "WORLD_SIZE=2"},
		"want a rank below the size":                        {"RANK=2", "WORLD_SIZE=2"},
		`MASTER_PORT is "x"`:                                {"RINGRUN_SECRET=" + secret, "RANK=0", "WORLD_SIZE=2", "MASTER_ADDR=h", "MASTER_PORT=x"},
	} {
		if _, err := from(env...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", env, err, want)
		}
	}
}

// Who is to wait for a group that is founded later waits for its name as well.
func TestJoinWait(t *testing.T) {
	unknown := []error{&net.DNSError{Err: "no such host", IsNotFound: true}}
	refused := []error{syscall.ECONNREFUSED}
	for _, tt := range []struct {
		errs         []error
		waited, wait time.Duration
		want         bool
	}{
		{unknown, 0, 0, true}, {unknown, time.Minute, 10 * time.Minute, false}, {unknown, 11 * time.Minute, 10 * time.Minute, true},
		{refused, time.Second, 0, false}, {refused, time.Minute, 0, true}, {refused, time.Minute, 10 * time.Minute, false},
		{[]error{&mismatchError{text: "another run"}}, 0, 10 * time.Minute, true},
	} {
		if got := giveUp(tt.errs, tt.waited, tt.wait); got != tt.want {
			t.Errorf("giveUp(%v, %v, %v) = %v", tt.errs, tt.waited, tt.wait, got)
		}
	}
}
