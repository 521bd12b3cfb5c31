package main

import (
	"syscall"
	"time"

	"github.com/ringrun/ringrun/cmd/ringrun/doctor"
	"github.com/ringrun/ringrun/cmd/ringrun/paths"
	"github.com/ringrun/ringrun/elastic/blackbox"
)

// The launcher and an agent talk in JSON, one object a line: requests on the
// agent's stdin, events on its stdout. The end of stdin means that the launcher
// is gone, and ends the agent with all its workers. Both ends are the same
// binary, or built from the same source for another platform, so there are no versions.

// A request has one of its fields set.
type request struct {
	Start  *start         `json:"start,omitempty"`
	Lease  time.Duration  `json:"lease,omitempty"`  // for so long the agent need not hear from us again
	Detach bool           `json:"detach,omitempty"` // stay without the launcher until the last worker has ended
	Signal syscall.Signal `json:"signal,omitempty"` // to the process groups of all workers
	Only   []int          `json:"only,omitempty"`   // or of these

	Doctor *doctor.Request `json:"doctor,omitempty"` // answered by evDoctor
	Paths  *paths.Request  `json:"paths,omitempty"`  // answered by evPaths, unless it closes
}

// start describes one worker.
type start struct {
	Worker int      `json:"worker"`
	Path   string   `json:"path"`
	Args   []string `json:"args"`
	Dir    string   `json:"dir"`  // where the launcher was started; home if there is no such folder
	Env    []string `json:"env"`  // RINGRUN_*; all others are the agent's own
	Port   int      `json:"port"` // to bind; 0 is any

	// Output is the folder for files with what the worker writes; none without.
	// defaultOutput leaves the choice to the agent.
	Output string `json:"output,omitempty"`
	Run    string `json:"run,omitempty"` // the name of the run

	// Bind is the address to bind, if the launcher knows it, and Advertise what
	// others are told if that is another.
	Bind      string `json:"bind,omitempty"`
	Advertise string `json:"advertise,omitempty"`

	// Else the address to bind is one by which the host was Reached, or that routes
	// Toward the others; see bindAddress.
	Reached []string `json:"reached,omitempty"`
	Toward  []string `json:"toward,omitempty"`
}

// Kinds of event.
const (
	evReady   = "ready"   // SSH
	evStarted = "started" // Worker
	evRefused = "refused" // Worker, Text: it could not be started
	evOutput  = "output"  // Worker, Stderr, Line
	evReport  = "report"  // Worker, Line: JSON from the worker's RINGRUN_REPORT
	evExited  = "exited"  // Worker, Status or Signal
	evAlive   = "alive"   // the answer to a lease
	evNote    = "note"    // Text, for the user
	evDoctor  = "doctor"  // Doctor
	evPaths   = "paths"   // Paths
	evLost    = "lost"    // Text; made by the launcher when the agent is gone
)

type event struct {
	Kind   string         `json:"kind"`
	Worker int            `json:"worker,omitempty"`
	Stderr bool           `json:"stderr,omitempty"`
	Line   []byte         `json:"line,omitempty"` // not a string: output may be any bytes
	Text   string         `json:"text,omitempty"`
	Status int            `json:"status,omitempty"`
	Signal syscall.Signal `json:"signal,omitempty"`
	End    *blackbox.End  `json:"end,omitempty"` // more of evExited, for an autopsy
	SSH    string         `json:"ssh,omitempty"` // the agent's SSH_CONNECTION: client, port, server, port

	Doctor *doctor.Reply `json:"doctor,omitempty"`
	Paths  *paths.Reply  `json:"paths,omitempty"`
}
