package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ringrun/ringrun/elastic/autopsy"
	"github.com/ringrun/ringrun/elastic/blackbox"
	"github.com/urfave/cli/v3"
)

func autopsyCommand() *cli.Command {
	return &cli.Command{
		Name: "autopsy", Usage: "tell why a run ended, or what happened to it, from the black boxes of its peers",
		ArgsUsage: "[RUN | FOLDER… | ADDR]",
		Description: "RUN is the name of a run that had peers on this machine; default: the last one. FOLDER has black boxes that\n" +
			"were copied from their hosts; with -H they are copied by ssh. If the run goes on, its peers are asked as well: those that are recorded here, or at ADDR.",
		Flags: askFlags(
			&cli.StringFlag{Name: "H", Usage: "the run was on these `HOSTS`: fetch what they have kept of it"},
			&cli.StringFlag{Name: "hostfile", Usage: "the hosts are in this `FILE`"},
			&cli.BoolFlag{Name: "all", Usage: "print the whole timeline, with every detail"},
			&cli.BoolFlag{Name: "json", Usage: "print one JSON object with everything"}),
		Action: func(ctx context.Context, c *cli.Command) error {
			e, err := gather(ctx, c)
			if err != nil {
				return err
			}
			r := autopsy.Examine(e.Case)
			if c.Bool("json") {
				enc := json.NewEncoder(os.Stdout)
				enc.SetIndent("", "  ")
				return enc.Encode(r)
			}
			return e.print(os.Stdout, r, c.Bool("all"))
		},
	}
}

// evidence is all that could be found of a run.
type evidence struct {
	autopsy.Case
	from     []string // where
	lack     []string // what could not be read, and why
	answered []string // peers that live
}

// gather finds the boxes that a command line means.
func gather(ctx context.Context, c *cli.Command) (*evidence, error) {
	e := &evidence{Case: autopsy.Case{Boot: blackbox.Boot()}}
	args := c.Args().Slice()
	if len(args) == 1 {
		if _, err := parseAddrs(args[0]); err == nil && !isFolder(args[0]) {
			e.Look = e.look
			return e, e.ask(ctx, c, args[0])
		}
	}
	if c.IsSet("H") || c.IsSet("hostfile") {
		if err := e.gatherFrom(ctx, c, args); err != nil {
			return nil, err
		}
		args = nil
	} else if len(args) == 0 || !isFolder(args[0]) {
		dir, err := folderOf(strings.Join(args, " "))
		if err != nil {
			return nil, err
		}
		args = []string{dir}
	}
	for _, dir := range args {
		if err := e.read(dir, dir); err != nil {
			return nil, err
		}
	}
	if addr := e.living(); addr != "" {
		if err := e.ask(ctx, c, addr); err != nil {
			e.lack = append(e.lack, "peers that run: "+err.Error())
		}
	}
	e.Look = e.look
	return e, nil
}

// gatherFrom takes what this machine and the hosts of a run have kept. The run is the
// one named, or the last that this machine knows of.
func (e *evidence) gatherFrom(ctx context.Context, c *cli.Command, args []string) error {
	hosts, err := findHosts(c, os.Getenv)
	if err != nil {
		return err
	}
	run := strings.Join(args, " ")
	if isFolder(run) {
		return usagef("-H and the folder %s: which of the two?", run)
	}
	if dir, err := folderOf(run); err == nil {
		run = filepath.Base(filepath.Dir(dir))
		if err := e.read(dir, dir); err != nil {
			e.lack = append(e.lack, err.Error())
		}
	} else if run != filepath.Base(run) && run != "" {
		return usagef("autopsy -H %s: it is no name of a run", run)
	} else if run == "" {
		return usagef("autopsy -H: no run of this user has left anything here: name the RUN, as ringrun did when it ended")
	}
	if err := e.fetch(ctx, hosts, run); err != nil {
		return err
	}
	if len(e.from) == 0 {
		return fmt.Errorf("nothing is left of run %s: %s", run, strings.Join(e.lack, "; "))
	}
	return nil
}

func isFolder(name string) bool {
	st, err := os.Stat(name)
	return err == nil && st.IsDir()
}

// folderOf returns the folder of a run by its name, or the beginning of that; of
// the last one without.
func folderOf(run string) (string, error) {
	dir, err := boxFolder("any")
	if err != nil {
		return "", err
	}
	all := boxFolders(filepath.Dir(filepath.Dir(dir)))
	if len(all) == 0 {
		return "", usagef("no run of this user has left a black box here: name a FOLDER that has some, or the ADDR of a peer")
	}
	var names []string
	for _, dir := range all {
		name := filepath.Base(filepath.Dir(dir))
		if names = append(names, name); strings.HasPrefix(name, run) {
			return dir, nil
		}
	}
	return "", usagef("there is no run %s, nor a folder of that name; there are %s", run, strings.Join(names, ", "))
}

// read takes what is in a folder: of boxes, or with one. From is how it is called.
func (e *evidence) read(dir, from string) error {
	if sub := filepath.Join(dir, boxesDir); isFolder(sub) {
		dir = sub
	}
	boxes, ends, bad, err := blackbox.ReadFolder(dir)
	if err != nil {
		return err
	}
	if len(boxes)+len(ends)+len(bad) == 0 {
		return fmt.Errorf("%s has no black boxes", from)
	}
	e.from = append(e.from, from)
	e.Boxes, e.Ends = append(e.Boxes, boxes...), append(e.Ends, ends...)
	for _, name := range bad {
		e.lack = append(e.lack, filepath.Join(from, name)+" is no black box, or not a whole one")
	}
	return nil
}

// living returns the address of a peer that runs here, "" if there is none.
func (e *evidence) living() string {
	for _, r := range e.Boxes {
		if !lives(r.Header) {
			continue
		}
		for _, ev := range slices.Backward(r.Events) {
			if ev.Kind == blackbox.Named {
				return ev.Text
			}
		}
	}
	return ""
}

// look says what a process does now, as far as this host can tell.
func (e *evidence) look(h blackbox.Header) autopsy.State {
	start, state, ok := blackbox.StartOf(h.PID)
	switch {
	case slices.ContainsFunc(e.answered, func(id string) bool { return id == h.ID }):
		return autopsy.Running
	case h.Boot != blackbox.Boot():
		if name, _ := os.Hostname(); h.Host == name && h.Keeper == "" {
			return autopsy.Rebooted
		}
		return autopsy.Unknown
	case !ok || start != h.Start || state == "Z" || state == "X":
		return autopsy.Gone
	case state == "T" || state == "t":
		return autopsy.Stopped
	}
	return autopsy.Running
}
