package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"github.com/ringrun/ringrun/elastic"
	"github.com/urfave/cli/v3"
)

// An auditFile gets the records that workers report; see elastic.Record. The zero
// one keeps nothing.
type auditFile struct {
	name string // for which workers report; see elastic.Config.Audit
	file *os.File
	bad  bool // writing has failed, and that was said
}

func openAudit(path string) (auditFile, error) {
	if path == "" {
		return auditFile{}, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return auditFile{}, fmt.Errorf("-audit: %w", err)
	}
	name := make([]byte, 4)
	rand.Read(name) // never fails: see its documentation
	return auditFile{name: hex.EncodeToString(name), file: f}, nil
}

// write adds a record. It returns an error only once.
func (a *auditFile) write(record []byte) error {
	if a.file == nil || a.bad {
		return nil
	}
	_, err := a.file.Write(append(record[:len(record):len(record)], '\n'))
	a.bad = err != nil
	return err
}

func (a *auditFile) close() error {
	if a.file == nil {
		return nil
	}
	return a.file.Close()
}

func auditCommand() *cli.Command {
	return &cli.Command{
		Name: "audit", Usage: "check that a run has used every sample exactly once", ArgsUsage: "FILE…",
		Description: "The files are those that the launchers of one run have written with -audit.\n" +
			"Exit status: 0 if all is well, 1 if not.",
		Action: func(_ context.Context, c *cli.Command) error {
			if c.NArg() == 0 {
				return usagef("no FILE: which audit?")
			}
			return checkAudit(os.Stdout, c.Args().Slice())
		},
	}
}

func checkAudit(w io.Writer, paths []string) error {
	var files []io.Reader
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		files = append(files, f)
	}
	a, err := elastic.CheckAudit(files...)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "run %s: steps %d to %d in %s, %s through the data complete\n",
		a.Run, a.First, a.Last, count(a.Views, "view"), count(a.Walks, "walk"))
	if a.Again > 0 {
		fmt.Fprintf(w, "%s that only the dead had committed done again\n", count(a.Again, "step"))
	}
	for _, p := range a.Problems {
		fmt.Fprintf(w, "WRONG: %s\n", p)
	}
	if n := len(a.Problems) + a.Unrecorded; n > 0 {
		fmt.Fprintf(w, "%s in all\n", count(n, "fault"))
		return exitStatus(1)
	}
	fmt.Fprintf(w, "ok: every sample of these walks was used exactly once, and the states were equal all %s they were compared\n", count(a.Compared, "time"))
	return nil
}
