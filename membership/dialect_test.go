package membership

import (
	"strings"
	"testing"
)

func TestDialects(t *testing.T) {
	secret := strings.Repeat("5a", minSecret)
	from := func(env ...string) (Config, error) {
		for _, name := range []string{"RINGRUN_SECRET", "RINGRUN_FOUND", "RINGRUN_JOIN", "MASTER_ADDR", "MASTER_PORT",
			"RANK", "WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS"} {
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
	if c, err := from("RANK=0", "WORLD_SIZE=1"); err != nil || !c.Found {
		t.Errorf("one process: %+v, %v", c, err)
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
