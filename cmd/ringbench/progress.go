package main

import (
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// statusLine is the last line of a terminal, which says what is going on. Where
// there is no terminal it says nothing.
type statusLine struct {
	w io.Writer // nil without a terminal

	mu    sync.Mutex // guards shown, and w against mixed output
	shown bool
}

func newStatusLine(w io.Writer) *statusLine {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return &statusLine{w: w}
	}
	return &statusLine{}
}

const eraseLine = "\r\x1b[K"

func (s *statusLine) show(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.w != nil {
		fmt.Fprint(s.w, eraseLine+text)
		s.shown = true
	}
}

// clear makes room for other output.
func (s *statusLine) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
}

func (s *statusLine) erase() {
	if s.shown {
		fmt.Fprint(s.w, eraseLine)
		s.shown = false
	}
}

// above returns a writer to w that clears the line first.
func (s *statusLine) above(w io.Writer) io.Writer { return &aboveLine{s, w} }

type aboveLine struct {
	line *statusLine
	w    io.Writer
}

func (a *aboveLine) Write(b []byte) (int, error) {
	a.line.mu.Lock()
	defer a.line.mu.Unlock()
	a.line.erase()
	return a.w.Write(b)
}
