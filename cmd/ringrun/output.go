package main

import (
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/fatih/color"
	"golang.org/x/term"
)

var palette = []color.Attribute{
	color.FgCyan, color.FgGreen, color.FgYellow, color.FgMagenta, color.FgBlue,
	color.FgHiCyan, color.FgHiGreen, color.FgHiYellow, color.FgHiMagenta, color.FgHiBlue,
}

// A printer writes whole lines, each with its origin in front.
type printer struct {
	mu       sync.Mutex
	out, err stream
	live     bool   // err is a terminal
	last     string // status line

	progress progress
	objects  *objects // nil: lines are for people
}

type stream struct {
	w      io.Writer
	colour bool
}

func newPrinter(out, err *os.File) *printer {
	return &printer{
		out: stream{out, wantsColour(out)}, err: stream{err, wantsColour(err)},
		live: os.Getenv("TERM") != "dumb" && term.IsTerminal(int(err.Fd())),
	}
}

func wantsColour(f *os.File) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// line prints one line of a worker.
func (p *printer) line(worker int, stderr bool, text []byte) {
	if p.objects != nil {
		p.objects.line(worker, stderr, text)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.underStatus()()
	to := p.out
	if stderr {
		to = p.err
	}
	to.print(fmt.Sprintf("[%d]", worker), palette[worker%len(palette)], text)
}

// note prints one line of ringrun itself.
func (p *printer) note(format string, args ...any) {
	if p.objects != nil {
		p.objects.err.Info(fmt.Sprintf(format, args...))
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.underStatus()()
	p.err.print("ringrun:", color.Bold, fmt.Appendf(nil, format, args...))
}

// underStatus takes the status line away until what it returns is called.
func (p *printer) underStatus() (restore func()) {
	if p.last == "" {
		return func() {}
	}
	_, _ = io.WriteString(p.err.w, "\r\x1b[K")
	return func() { _, _ = io.WriteString(p.err.w, p.last) }
}

// print ignores errors: there is nobody left to tell.
func (s stream) print(origin string, attr color.Attribute, text []byte) {
	if s.colour {
		c := color.New(attr)
		c.EnableColor()
		origin = c.Sprint(origin)
	}
	line := make([]byte, 0, len(origin)+len(text)+2)
	line = append(line, origin...)
	line = append(line, ' ')
	line = append(line, text...)
	_, _ = s.w.Write(append(line, '\n'))
}
