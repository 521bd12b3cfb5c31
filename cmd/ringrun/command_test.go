package main

import (
	"errors"
	"strings"
	"testing"
)

// A command takes its own options, and refuses those of a launcher, which would
// change nothing there.
func TestCommandsHaveTheirOwnOptions(t *testing.T) {
	for _, args := range [][]string{
		{"status", "-codec", "half"}, {"chaos", "-checkpoint", "saved", "prog"}, {"drain", "-n", "2", "p0"}, {"plan", "-join", "127.0.0.1:1"},
	} {
		err := newCommand().Run(t.Context(), append([]string{"ringrun"}, args...))
		if want := "not defined: " + args[1]; err == nil || !errors.As(err, new(usageError)) || !strings.Contains(err.Error(), want) {
			t.Errorf("ringrun %s: %v; want a mistake of the user: %s", strings.Join(args, " "), err, want)
		}
	}
}
