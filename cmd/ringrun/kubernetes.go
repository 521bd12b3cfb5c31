package main

import (
	"context"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"text/template"
	"time"

	"github.com/urfave/cli/v3"
)

//go:embed kubernetes.yaml
var manifestText string

var manifestTemplate = template.Must(template.New("manifest").Funcs(template.FuncMap{"q": yamlString}).Parse(manifestText))

func kubernetesCommand() *cli.Command {
	progIsFirst := 1
	return &cli.Command{
		Name: "kubernetes", Usage: "print a manifest for kubectl: an indexed job, its service and its secret", ArgsUsage: "PROG [arguments of PROG]",
		StopOnNthArg: &progIsFirst,
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "n", Usage: "of `N` pods, a peer each"},
			&cli.StringFlag{Name: "image", Usage: "this `IMAGE` has PROG, by a path in it"},
			&cli.StringFlag{Name: "name", Usage: "the job has this `NAME` (default: that of PROG)"},
			&cli.StringFlag{Name: "namespace", Usage: "in this `NAMESPACE` (default: that of kubectl)"},
			&cli.StringFlag{Name: "cpu", Value: "1", Usage: "each pod asks for so many processors, such as `4 or 500m`"},
			&cli.StringFlag{Name: "memory", Value: "1Gi", Usage: "and may have so much memory, such as `8Gi`"},
			&cli.StringFlag{Name: "volume", Usage: "all pods see a volume: `CLAIM:/DIR`, as with -checkpoint /DIR/saved"},
			&cli.StringFlag{Name: "checkpoint", Usage: "save the state in this `DIR`, and go on from there"},
			&cli.StringFlag{Name: "codec", Value: "raw", Usage: "gradients are written `raw|half|zstd`"},
			&cli.IntFlag{Name: "min-n", Value: 1, Usage: "the run fails with fewer than `N` peers"},
			&cli.IntFlag{Name: "port", Value: 29400, Usage: "peers listen on this `PORT`"},
			&cli.DurationFlag{Name: "grace", Value: 30 * time.Second, Usage: "a pod that is to go may take this `TIME` to finish a step, and leave"},
			&cli.StringFlag{Name: "secret-file", Usage: "the run's secret is in this `FILE` (default: RINGRUN_SECRET, in hex; else a fresh one)"},
		},
		Action: func(_ context.Context, c *cli.Command) error {
			m, err := newManifest(c)
			if err != nil {
				return err
			}
			return m.write(os.Stdout)
		},
	}
}

// A manifest is what the template knows.
type manifest struct {
	Name, Namespace     string
	N, MinN, Port       int
	Image, CPU, Memory  string
	Command             []string
	Claim, Dir          string // a volume
	Checkpoint, Codec   string
	Secret, Run         string
	Peers               string
	GraceSeconds        int64
	LeaveIn             time.Duration
	Retries             int
	JoinWait, Forgotten time.Duration
}

// mostPeers are the pods that a newcomer asks for the group: one of them is there.
const mostPeers = 16

func newManifest(c *cli.Command) (manifest, error) {
	args := c.Args().Slice()
	if len(args) == 0 || args[0] == "" {
		return manifest{}, usagef("kubernetes: no PROG: which program of the image shall the pods run?")
	}
	cred, err := findCredential(options{secretFile: c.String("secret-file")}, os.Getenv("RINGRUN_SECRET"), records{})
	if err != nil {
		return manifest{}, err
	}
	grace := c.Duration("grace")
	m := manifest{
		Name: c.String("name"), Namespace: c.String("namespace"), N: c.Int("n"), MinN: c.Int("min-n"), Port: c.Int("port"),
		Image: c.String("image"), CPU: c.String("cpu"), Memory: c.String("memory"), Command: args,
		Checkpoint: c.String("checkpoint"), Codec: c.String("codec"),
		Secret: hex.EncodeToString(cred.secret), Run: cred.run(),
		GraceSeconds: int64(grace.Seconds()) + 1, LeaveIn: grace - grace/10,
		Retries: 20 * c.Int("n"), JoinWait: 10 * time.Minute, Forgotten: 24 * time.Hour,
	}
	if m.Name == "" {
		m.Name = labelOf(args[0])
	}
	m.Claim, m.Dir, _ = strings.Cut(c.String("volume"), ":")
	var peers []string
	for i := range min(m.N, mostPeers) {
		peers = append(peers, fmt.Sprintf("%s-%d.%s:%d", m.Name, i, m.Name, m.Port))
	}
	m.Peers = strings.Join(peers, ",")
	return m, m.validate(c)
}

var (
	label    = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,51}[a-z0-9])?$`) // with -1234567 behind it, at most 63
	quantity = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?([EPTGMk]|[EPTGMK]i|m)?$`)
)

// labelOf makes a name for Kubernetes of a program's.
func labelOf(prog string) string {
	name := strings.ToLower(prog[strings.LastIndex(prog, "/")+1:])
	name = strings.TrimSuffix(name, ".sh")
	return strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(name, "-"), "-0123456789")
}

func (m manifest) validate(c *cli.Command) error {
	switch {
	case m.N < 1:
		return usagef("kubernetes -n %d: at least 1 pod is needed", m.N)
	case m.Image == "":
		return usagef("kubernetes: no -image: which one has %s?", m.Command[0])
	case !label.MatchString(m.Name):
		return usagef("kubernetes: %q cannot be a name there: -name wants small letters, digits and dashes, a letter first, at most 53", m.Name)
	case m.Namespace != "" && !label.MatchString(m.Namespace):
		return usagef("kubernetes -namespace %s: want small letters, digits and dashes", m.Namespace)
	case !quantity.MatchString(m.CPU):
		return usagef("kubernetes -cpu %s: want a quantity such as 4 or 500m", m.CPU)
	case !quantity.MatchString(m.Memory):
		return usagef("kubernetes -memory %s: want a quantity such as 8Gi", m.Memory)
	case c.IsSet("volume") && (!label.MatchString(m.Claim) || !strings.HasPrefix(m.Dir, "/")):
		return usagef("kubernetes -volume %s: want CLAIM:/DIR", c.String("volume"))
	case m.Codec != "raw" && m.Codec != "half" && m.Codec != "zstd":
		return usagef("kubernetes -codec %s: want raw, half, zstd", m.Codec)
	case m.MinN < 1 || m.MinN > m.N:
		return usagef("kubernetes -min-n %d: want 1 to %d, the number of pods", m.MinN, m.N)
	case m.Port < 1 || m.Port > 65535:
		return usagef("kubernetes -port %d: want 1 to 65535", m.Port)
	case m.LeaveIn < time.Second:
		return usagef("kubernetes -grace %v: want some seconds", c.Duration("grace"))
	}
	return nil
}

func (m manifest) write(w io.Writer) error { return manifestTemplate.Execute(w, m) }

// yamlString is a string of YAML: those of JSON are.
func yamlString(s any) (string, error) {
	b, err := json.Marshal(fmt.Sprint(s))
	return string(b), err
}
