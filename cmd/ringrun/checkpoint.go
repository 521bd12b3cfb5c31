package main

import (
	"strconv"

	"github.com/ringrun/ringrun/elastic"
	"github.com/urfave/cli/v3"
)

// checkpoints is what the command line says about them.
type checkpoints struct {
	dir   string
	every string // a number of steps, or a duration
	keep  int
}

func checkpointFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "checkpoint", Usage: "write checkpoints into this `FOLDER`, on every host; and when the run is founded, " +
			"go on from the most advanced one that is there"},
		&cli.StringFlag{Name: "checkpoint-every", Value: "100", Usage: "write one every `K` steps, or after a time such as 30s"},
		&cli.IntFlag{Name: "checkpoint-keep", Value: 3, Usage: "keep `N` of them"},
	}
}

func parseCheckpoints(c *cli.Command) (checkpoints, error) {
	k := checkpoints{c.String("checkpoint"), c.String("checkpoint-every"), c.Int("checkpoint-keep")}
	switch _, _, err := elastic.ParseEvery(k.every); {
	case c.IsSet("checkpoint") && k.dir == "":
		return k, usagef("-checkpoint: no folder is named")
	case err != nil:
		return k, usagef("-checkpoint-every: %w", err)
	case k.keep < 1:
		return k, usagef("-checkpoint-keep %d: want at least 1", k.keep)
	case k.dir == "" && (c.IsSet("checkpoint-every") || c.IsSet("checkpoint-keep")):
		return k, usagef("-checkpoint-every and -checkpoint-keep: for -checkpoint, which is not given")
	}
	return k, nil
}

func (k checkpoints) env() []string {
	if k.dir == "" {
		return nil
	}
	return []string{
		"RINGRUN_CHECKPOINT_DIR=" + k.dir,
		"RINGRUN_CHECKPOINT_EVERY=" + k.every,
		"RINGRUN_CHECKPOINT_KEEP=" + strconv.Itoa(k.keep),
	}
}

// tellRestored says once from where a run goes on.
func (j *job) tellRestored(worker int, file string, steps uint64) {
	if file != j.restored {
		j.restored = file
		j.out.note("worker %d has a checkpoint of step %d: %s", worker, steps, file)
	}
}
