// Ringrun starts the peers of a training run: here, on other hosts over ssh, or
// as newcomers to a run that is under way.
//
// It is a tree of processes, each of which ends when the one above it is gone:
//
//	ringrun              decides: what to start, when to stop, how it went
//	  |   JSON lines on stdin and stdout, through ssh for another host
//	  agent              one per host: starts workers, reads what they say
//	  |  \
//	  |   guard          kills what is left when the agent was killed
//	  |
//	  workers            the peers: PROG, each in a process group of its own
//
// The agent and the guard are this same program, by hidden commands. Peers need none of them once they run: they find each other by
// gossip, and any of them may die.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
)

// The main goroutine keeps the main thread. The kernel kills a worker when the
// thread that started it ends, not when the process does, and an exec keeps that
// promise only on the main thread.
func init() { runtime.LockOSThread() }

func main() {
	err := hideTicket(os.Args)
	if err == nil {
		err = newCommand().Run(context.Background(), os.Args)
	}
	os.Exit(exitCode(err))
}

// A usageError is a mistake on the command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// An exitStatus ends ringrun with that status and says nothing more.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func exitCode(err error) int {
	var said exitStatus
	if err == nil || errors.As(err, &said) {
		return int(said)
	}
	text, status := explain(err)
	fmt.Fprintf(os.Stderr, "ringrun: %s\n", text)
	return status
}
