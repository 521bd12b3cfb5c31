// Package membership tells who trains: it finds the other peers by gossip and
// agrees with them on views, numbered lists of peers that all members see
// alike.
//
// [Start] makes this process a peer, [Node.Next] waits for a view that it
// belongs to:
//
//	node, err := membership.Start(ctx, cfg)
//	…
//	view, err := node.Next(ctx, 0)
//
// Gossip suggests, it never decides. It carries addresses; who belongs to a
// view is agreed by the members of the view before (agreement.go), and that a
// peer is dead counts only when it is proven (probe.go).
package membership

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"
)

var (
	// ErrExcluded reports that the group went on without this peer. It may
	// start anew, under another ID.
	ErrExcluded = errors.New("membership: the group went on without this peer")
	// ErrStranded reports that most of the others are dead, and that nobody was
	// left who could say whether they had gone on without this peer before.
	ErrStranded = errors.New("membership: stranded")
	// ErrClosed reports that the node was closed.
	ErrClosed = errors.New("membership: closed")
)

// Limits of what a Config may hold.
const (
	minSecret    = 16
	maxNameBytes = 128
)

// A Config says who this peer is and which group it belongs to. Zero fields
// mean the defaults given here.
type Config struct {
	// ID names this peer, and no other start of a process ever. Default: random.
	ID string
	// Run names the run; peers of another run are refused by name. Default:
	// "ringrun".
	Run string
	// Secret is what the peers of a run share and nobody else knows, at least
	// 16 bytes. It has no default.
	Secret []byte

	// Bind is the host:port, for TCP and UDP, that this peer listens on;
	// port 0 picks a free one. Default: "127.0.0.1:0".
	Bind string
	// Advertise is the host or host:port at which the others reach this peer.
	// Default: the address bound, or a private one of this host if that is
	// unspecified.
	Advertise string

	// Found makes this peer found a group of one, unless somebody in Join
	// answers that the group lives. Otherwise it joins through Join.
	Found bool
	// Join lists addresses of members.
	Join []string
	// Expect is how many peers, itself included, a founder waits for before
	// its first change of view, at most for ExpectTimeout (default 30 s).
	Expect        int
	ExpectTimeout time.Duration

	// Limit is the most peers that a founder's group ever lets in; 0: any number.
	// Newcomers beyond it wait, until JoinTimeout, for one of the others to leave.
	Limit int

	// Meta is what the others need to open links to this peer, at most 1 KiB.
	Meta []byte

	// Near names what a peer is near to, by its Meta: peers of one name stand next
	// to each other in rank order. It must be the same function on all peers, and
	// depend on nothing else. Default: newcomers stand behind the others.
	Near func(meta []byte) string

	// Control answers those who know the secret but are no peers, see
	// ControlClient. Default: they are turned away.
	Control http.Handler

	// OnPartition says what happens when so many peers are silent, and not proven
	// dead, that the others may not go on: "pause" (default: they wait),
	// "stop" (they end with ErrPartitioned) or "prefer=ID" (of two halves, the one
	// with that peer goes on; an ID may be given without its last dash and what
	// follows). The founder's preference is that of the group.
	OnPartition string
	// Witness makes this peer vote and do nothing else; see [Witness].
	Witness bool

	// Notice hears what leads to each view, in order, from one goroutine; it must
	// not block. Default: nobody does.
	Notice func(Notice)

	// Reach, if it is set, is asked before anything is sent to an address: false
	// loses it, as a cut cable would. It is for tests, and must not block.
	Reach func(addr string) bool

	// JoinTimeout bounds joining (default 30 s). That nobody answers is
	// reported within 10 s all the same.
	JoinTimeout time.Duration
	// JoinWait is how long a joiner knocks where nobody answers, and waits for
	// names that do not exist, if that is more than those 10 s: the group may be
	// founded later, by a scheduler. Default: 0.
	JoinWait time.Duration

	// Logger hears what happens. Default: silence.
	Logger *zap.Logger
}

// FromEnv reads a Config from RINGRUN_ID, _RUN, _SECRET (hexadecimal), _BIND,
// _ADVERTISE, _FOUND (1), _JOIN (addresses with commas between), _JOIN_WAIT (as in
// 10m), _EXPECT, _MAX_N and _ON_PARTITION. If
// neither _FOUND nor _JOIN is set, another launcher may have said which process
// this is: RANK and WORLD_SIZE (or the words of Open MPI, Slurm and Kubernetes for
// them), with MASTER_ADDR and MASTER_PORT. Processes that are started anew in their
// old places, the first among them, need RINGRUN_PEERS as well: addresses at which
// others of the group may be. With nothing set, this process is to found a group
// of one that nobody can join.
func FromEnv() (Config, error) {
	e := env{}
	c := Config{
		ID:        e.get("RINGRUN_ID"),
		Run:       e.get("RINGRUN_RUN"),
		Secret:    e.hex("RINGRUN_SECRET"),
		Bind:      e.get("RINGRUN_BIND"),
		Advertise: e.get("RINGRUN_ADVERTISE"),
		Found:     e.bool("RINGRUN_FOUND"),
		Join:      e.list("RINGRUN_JOIN"),
		Expect:    e.int("RINGRUN_EXPECT"),
		Limit:     e.int("RINGRUN_MAX_N"),

		JoinWait: e.duration("RINGRUN_JOIN_WAIT"),

		OnPartition: e.get("RINGRUN_ON_PARTITION"),
	}
	if e.err == nil && !c.Found && len(c.Join) == 0 {
		e.err = c.fromDialect(os.Getenv, e.list("RINGRUN_PEERS"))
	}
	switch {
	case e.err != nil:
		return Config{}, e.err
	case !e.any:
		c.Found, c.Secret = true, randomBytes(32)
	case c.Secret == nil:
		return Config{}, errors.New("membership: RINGRUN_SECRET is not set, which all peers of a run share")
	case !c.Found && len(c.Join) == 0:
		return Config{}, errors.New("membership: neither RINGRUN_FOUND=1 nor RINGRUN_JOIN is set: found a group, or join which?")
	}
	return c, nil
}

// An env reads variables, remembering the first error and whether any was set.
type env struct {
	any bool
	err error
}

func (e *env) get(name string) string {
	s := strings.TrimSpace(os.Getenv(name))
	e.any = e.any || s != ""
	return s
}

func (e *env) fail(name, why string) {
	if e.err == nil {
		e.err = fmt.Errorf("membership: %s %s", name, why)
	}
}

// hex does not repeat what it could not read: it is a secret.
func (e *env) hex(name string) []byte {
	s := e.get(name)
	if s == "" {
		return nil
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		e.fail(name, "is not hexadecimal")
	} else if len(b) < minSecret {
		e.fail(name, fmt.Sprintf("has %d bytes, at least %d are needed", len(b), minSecret))
	}
	return b
}

func (e *env) bool(name string) bool {
	s := e.get(name)
	if s == "" {
		return false
	}
	b, err := strconv.ParseBool(s)
	if err != nil {
		e.fail(name, fmt.Sprintf("is %q, want 1 or 0", s))
	}
	return b
}

func (e *env) int(name string) int {
	s := e.get(name)
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		e.fail(name, fmt.Sprintf("is %q, want a number of peers", s))
	}
	return n
}

func (e *env) duration(name string) time.Duration {
	s := e.get(name)
	if s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		e.fail(name, fmt.Sprintf("is %q, want a duration such as 10m", s))
	}
	return d
}

func (e *env) list(name string) []string {
	var l []string
	for s := range strings.SplitSeq(e.get(name), ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		if err := checkHostPort(s); err != nil {
			e.fail(name, fmt.Sprintf("holds %q: %v", s, err))
		}
		l = append(l, s)
	}
	return l
}

func (c Config) withDefaults() Config {
	if c.ID == "" {
		c.ID = hex.EncodeToString(randomBytes(6))
	}
	if c.Run == "" {
		c.Run = "ringrun"
	}
	if c.Bind == "" {
		c.Bind = "127.0.0.1:0"
	}
	if c.ExpectTimeout == 0 {
		c.ExpectTimeout = 30 * time.Second
	}
	if c.JoinTimeout == 0 {
		c.JoinTimeout = 30 * time.Second
	}
	if c.Reach == nil {
		c.Reach = func(string) bool { return true }
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c
}

// validate checks a Config that has its defaults.
func (c Config) validate() error {
	if err := checkName(c.ID); err != nil {
		return fmt.Errorf("membership: ID %q %w", c.ID, err)
	}
	if err := checkName(c.Run); err != nil {
		return fmt.Errorf("membership: Run %q %w", c.Run, err)
	}
	switch {
	case len(c.Secret) < minSecret:
		return fmt.Errorf("membership: Secret has %d bytes, at least %d are needed", len(c.Secret), minSecret)
	case len(c.Meta) > maxMeta:
		return fmt.Errorf("membership: Meta has %d bytes, at most %d are allowed", len(c.Meta), maxMeta)
	case c.Expect < 0 || c.ExpectTimeout < 0 || c.JoinTimeout < 0 || c.JoinWait < 0:
		return fmt.Errorf("membership: negative Expect (%d), ExpectTimeout (%v), JoinTimeout (%v) or JoinWait (%v)",
			c.Expect, c.ExpectTimeout, c.JoinTimeout, c.JoinWait)
	case c.Limit < 0 || c.Limit > 0 && c.Limit < c.Expect:
		return fmt.Errorf("membership: at most %d peers, of which %d are expected to begin", c.Limit, c.Expect)
	case c.Witness && c.Found:
		return errors.New("membership: a witness has no model, so it can found no group")
	case !c.Found && len(c.Join) == 0:
		return errors.New("membership: neither Found nor Join is set: found a group, or join which?")
	}
	if _, err := parsePolicy(c.OnPartition); err != nil {
		return fmt.Errorf("membership: on partition %q: %w", c.OnPartition, err)
	}
	return c.validateAddrs()
}

func (c Config) validateAddrs() error {
	if err := checkHostPort(c.Bind); err != nil {
		return fmt.Errorf("membership: Bind %q: %w", c.Bind, err)
	}
	if c.Advertise != "" {
		host, port := splitAdvertise(c.Advertise, "1")
		if err := checkHostPort(net.JoinHostPort(host, port)); err != nil {
			return fmt.Errorf("membership: Advertise %q: %w", c.Advertise, err)
		}
	}
	for _, a := range c.Join {
		if err := checkHostPort(a); err != nil {
			return fmt.Errorf("membership: Join %q: %w", a, err)
		}
	}
	return nil
}

// checkName wants a name that fits into messages and does no harm in a log.
func checkName(s string) error {
	if s == "" || len(s) > maxNameBytes {
		return fmt.Errorf("has %d bytes, want 1 to %d", len(s), maxNameBytes)
	}
	bad := func(r rune) bool { return !unicode.IsPrint(r) }
	if !utf8.ValidString(s) || strings.ContainsFunc(s, bad) {
		return errors.New("is not printable")
	}
	return nil
}

func checkHostPort(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return errors.New("want host:port")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("port %q, want a number up to 65535", port)
	}
	return nil
}

// splitAdvertise splits host or host:port.
func splitAdvertise(s, defaultPort string) (host, port string) {
	if host, port, err := net.SplitHostPort(s); err == nil {
		return host, port
	}
	return strings.Trim(s, "[]"), defaultPort
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}
