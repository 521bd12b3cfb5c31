package main

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v3"
)

func TestCheckpointFlags(t *testing.T) {
	for _, tt := range []struct {
		args string
		env  []string
		err  string
	}{
		{"", nil, ""},
		{"-checkpoint d", []string{"RINGRUN_CHECKPOINT_DIR=d", "RINGRUN_CHECKPOINT_EVERY=100", "RINGRUN_CHECKPOINT_KEEP=3"}, ""},
		{"-checkpoint /a/b -checkpoint-every 30s -checkpoint-keep 1", []string{"RINGRUN_CHECKPOINT_DIR=/a/b", "RINGRUN_CHECKPOINT_EVERY=30s", "RINGRUN_CHECKPOINT_KEEP=1"}, ""},
		{"-checkpoint=", nil, "no folder"},
		{"-checkpoint d -checkpoint-every soon", nil, `"soon" is neither`},
		{"-checkpoint d -checkpoint-every 0", nil, `"0" is neither`},
		{"-checkpoint d -checkpoint-keep 0", nil, "at least 1"},
		{"-checkpoint-keep 2", nil, "-checkpoint, which is not given"},
	} {
		var k checkpoints
		c := &cli.Command{Flags: checkpointFlags(), Action: func(_ context.Context, c *cli.Command) (err error) {
			k, err = parseCheckpoints(c)
			return err
		}}
		err := c.Run(t.Context(), append([]string{"ringrun"}, strings.Fields(tt.args)...))
		switch {
		case tt.err == "" && (err != nil || !slices.Equal(k.env(), tt.env)):
			t.Errorf("%s: %q, %v; want %q", tt.args, k.env(), err, tt.env)
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%s: error %v, want one with %q", tt.args, err, tt.err)
		}
	}
}
