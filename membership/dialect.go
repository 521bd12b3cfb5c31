package membership

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// A dialect is how another launcher tells a process its place: torchrun and its
// kin, Open MPI, Slurm.
type dialect struct{ rank, size string }

var dialects = []dialect{
	{"RANK", "WORLD_SIZE"},
	{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
	{"SLURM_PROCID", "SLURM_NTASKS"},
}

// fromDialect fills in the place of a process that another launcher has started:
// rank 0 founds the group at MASTER_ADDR:MASTER_PORT, and the others join there.
// It changes nothing if no other launcher has started more than one.
func (c *Config) fromDialect(getenv func(string) string) error {
	d, rank, size, err := findDialect(getenv)
	if err != nil || size < 2 {
		return err
	}
	host, port := getenv("MASTER_ADDR"), getenv("MASTER_PORT")
	master := net.JoinHostPort(host, port)
	switch p, err := strconv.ParseUint(port, 10, 16); {
	case c.Secret == nil:
		return fmt.Errorf("membership: %s says that this is one of %d processes, but RINGRUN_SECRET is not set, which all peers of a run share", d.size, size)
	case host == "" || port == "":
		return fmt.Errorf("membership: %s says that this is one of %d processes, but not MASTER_ADDR and MASTER_PORT where they meet", d.size, size)
	case err != nil || p == 0:
		return fmt.Errorf("membership: MASTER_PORT is %q, want a port", port)
	case rank == 0:
		c.Found, c.Bind, c.Expect = true, master, size
		return nil
	}
	c.Join = []string{master}
	if c.Bind == "" {
		c.Bind, err = addressToward(master)
	}
	return err
}

// findDialect returns size 0 if there is none.
func findDialect(getenv func(string) string) (d dialect, rank, size int, err error) {
	for _, d := range dialects {
		rank, size := getenv(d.rank), getenv(d.size)
		if rank == "" || size == "" {
			continue
		}
		r, err1 := strconv.Atoi(rank)
		n, err2 := strconv.Atoi(size)
		if err := errors.Join(err1, err2); err != nil || r < 0 || r >= n {
			return d, 0, 0, fmt.Errorf("membership: %s is %q and %s is %q, want a rank below the size", d.rank, rank, d.size, size)
		}
		return d, r, n, nil
	}
	return dialect{}, 0, 0, nil
}

// addressToward returns the address, with any port, from which this host sends
// to another. Nothing is sent.
func addressToward(other string) (string, error) {
	c, err := net.DialTimeout("udp", other, 5*time.Second) // for the name's sake
	if err != nil {
		return "", fmt.Errorf("membership: no way to MASTER_ADDR: %w", err)
	}
	defer c.Close()
	return net.JoinHostPort(c.LocalAddr().(*net.UDPAddr).IP.String(), "0"), nil
}
