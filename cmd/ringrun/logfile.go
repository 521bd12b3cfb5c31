package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"gopkg.in/natefinch/lumberjack.v2"
)

// The output of a worker is kept in files of this size, the newest few.
const (
	logMegabytes = 64
	logBackups   = 3
)

// defaultOutput stands for the folder that logFolder chooses.
const defaultOutput = "-"

// logFolder is where the output of a run is kept if the user names no folder.
func logFolder(run string) (string, error) {
	state := os.Getenv("XDG_STATE_HOME")
	if state == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "ringrun", run), nil
}

// inFolder is the folder for output on this host.
func (a *agent) inFolder(s start) string {
	if s.Output == defaultOutput || filepath.IsAbs(s.Output) {
		return s.Output
	}
	return filepath.Join(a.startIn(s.Dir), s.Output)
}

// openLog opens the file for the output of one worker. Both its streams go there,
// line by line, and it is followed by other files when it has grown large.
func openLog(dir, run string, worker int) (io.WriteCloser, string, error) {
	if dir == defaultOutput {
		var err error
		if dir, err = logFolder(run); err != nil {
			return nil, "", fmt.Errorf("a folder for the output: %w", err)
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", fmt.Errorf("a folder for the output: %w", err)
	}
	name := filepath.Join(dir, fmt.Sprintf("worker-%d.log", worker))
	// The logger opens its file late; what is wrong with it shall show now.
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, "", fmt.Errorf("a file for the output: %w", err)
	}
	f.Close()
	return &lumberjack.Logger{Filename: name, MaxSize: logMegabytes, MaxBackups: logBackups}, name, nil
}
