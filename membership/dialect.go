package membership

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A dialect is how another launcher tells a process its place: torchrun and its
// kin, Open MPI, Slurm, an indexed job of Kubernetes.
type dialect struct{ rank, size string }

var dialects = []dialect{
	{"RANK", "WORLD_SIZE"},
	{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
	{"SLURM_PROCID", "SLURM_NTASKS"},
	{"JOB_COMPLETION_INDEX", "WORLD_SIZE"},
}

// fromDialect fills in the place of a process that another launcher has started:
// rank 0 founds the group at MASTER_ADDR:MASTER_PORT, and the others join there.
// If it may be started anew, it asks the peers first whether the group lives, and
// the others join there, too. It changes nothing if no other launcher has started
// more than one.
func (c *Config) fromDialect(getenv func(string) string, peers []string) error {
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
	}
	if c.ID == "" {
		c.ID = fmt.Sprintf("p%0*d-%x", len(strconv.Itoa(size-1)), rank, randomBytes(4))
	}
	c.Join = slices.DeleteFunc(peers, func(p string) bool { return p == master })
	if rank == 0 {
		c.Found, c.Expect = true, size
		if c.Bind == "" {
			c.Bind = master
			err = c.beyondLoopback(host, port)
		}
		return err
	}
	c.Join = append([]string{master}, c.Join...)
	if c.Bind == "" {
		c.Bind, err = addressToward(master)
	}
	return err
}

// beyondLoopback binds all addresses of this host if its own name means loopback
// here, as /etc/hosts often says, but not to the others.
func (c *Config) beyondLoopback(host, port string) error {
	if ip := net.ParseIP(host); ip != nil || strings.EqualFold(host, "localhost") {
		return nil // as the user wants
	}
	ips, err := net.LookupIP(host)
	if err != nil {
		return fmt.Errorf("membership: MASTER_ADDR: %w", err)
	}
	if slices.ContainsFunc(ips, func(ip net.IP) bool { return !ip.IsLoopback() }) {
		return nil
	}
	c.Bind = net.JoinHostPort("0.0.0.0", port)
	if c.Advertise == "" {
		c.Advertise = hostAddr().String()
	}
	return nil
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
