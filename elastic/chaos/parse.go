package chaos

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A SyntaxError says which word of a script cannot be understood.
type SyntaxError struct {
	Line, Word int    // from 1 on
	Text       string // the word; none at the end of a line
	Want       string
}

func (e *SyntaxError) Error() string {
	if e.Text == "" {
		return fmt.Sprintf("line %d ends where %s is wanted", e.Line, e.Want)
	}
	return fmt.Sprintf("line %d, word %d: %q, want %s", e.Line, e.Word, e.Text, e.Want)
}

// Parse reads a script for a group that begins with n peers.
func Parse(script string, n int) ([]Fault, error) {
	var faults []Fault
	for i, line := range strings.Split(script, "\n") {
		line, _, _ = strings.Cut(line, "#")
		line = strings.NewReplacer("{", " { ", "}", " } ").Replace(line)
		p := parser{line: i + 1, words: strings.Fields(line), peers: n}
		if len(p.words) == 0 {
			continue
		}
		f := p.fault()
		if p.err != nil {
			return nil, p.err
		}
		n += f.Count
		faults = append(faults, f)
	}
	return faults, nil
}

// A parser reads one line. After the first error all that it returns is zero.
type parser struct {
	line  int
	words []string
	at    int
	peers int // that there are by then, at most
	err   error
}

func (p *parser) fail(want string) {
	if p.err != nil {
		return
	}
	e := &SyntaxError{Line: p.line, Word: p.at + 1, Want: want}
	if p.at < len(p.words) {
		e.Text = p.words[p.at]
	}
	p.err = e
}

func (p *parser) peek() string {
	if p.err != nil || p.at == len(p.words) {
		return ""
	}
	return p.words[p.at]
}

// take reads a word that must be there.
func (p *parser) take(word string) {
	if p.peek() != word {
		p.fail(strconv.Quote(word))
		return
	}
	p.at++
}

func (p *parser) fault() Fault {
	f := Fault{Line: p.line, Kind: Kind(p.peek())}
	switch f.Kind {
	case Kill, Stop, Join, Drain, Cut, Slow, Wait:
		p.at++
	default:
		p.fail("kill, stop, join, drain, cut, slow or wait")
		return Fault{}
	}
	p.object(&f)
	if f.Kind == Stop || f.Kind == Cut || f.Kind == Slow {
		p.take("for")
		f.For = p.duration()
	}
	p.when(&f)
	return f
}

// object reads whom or what a fault is about.
func (p *parser) object(f *Fault) {
	switch f.Kind {
	case Kill, Stop, Drain, Slow:
		f.Peer = p.peer()
	case Join:
		f.Count = 1
		if w := p.peek(); w != "" && w != "at" && w != "after" {
			f.Count = int(p.number("a number of newcomers"))
		}
	case Cut:
		f.Sides[0] = p.side(nil)
		f.Sides[1] = p.side(f.Sides[0])
	case Wait:
		f.For = p.duration()
	}
	if f.Kind == Slow {
		f.Delay = p.duration()
	}
}

// when reads at which step, after which time, until the end of the line.
func (p *parser) when(f *Fault) {
	for p.err == nil && p.at < len(p.words) {
		switch p.peek() {
		case "at":
			p.at++
			p.take("step")
			f.Step = p.number("the number of a step")
		case "after":
			p.at++
			f.After = p.duration()
		default:
			p.fail(`"at step N", "after TIME" or the end of the line`)
		}
	}
}

func (p *parser) peer() int {
	n, err := strconv.Atoi(strings.TrimPrefix(p.peek(), "p"))
	if !strings.HasPrefix(p.peek(), "p") || err != nil || n < 0 || n >= p.peers {
		p.fail(fmt.Sprintf("a peer, p0 to %s", name(p.peers-1)))
		return 0
	}
	p.at++
	return n
}

// side reads {p0 p1}, none of which is on the other side.
func (p *parser) side(other []int) []int {
	p.take("{")
	var peers []int
	for p.err == nil && (len(peers) == 0 || p.peek() != "}") {
		one := p.peer()
		if slices.Contains(peers, one) || slices.Contains(other, one) {
			p.at--
			p.fail("a peer that is not named before")
		}
		peers = append(peers, one)
	}
	p.take("}")
	return peers
}

func (p *parser) number(want string) uint64 {
	n, err := strconv.ParseUint(p.peek(), 10, 31)
	if err != nil || n == 0 {
		p.fail(want)
		return 0
	}
	p.at++
	return n
}

func (p *parser) duration() time.Duration {
	d, err := time.ParseDuration(p.peek())
	if err != nil || d <= 0 {
		p.fail("a time such as 500ms or 3s")
		return 0
	}
	p.at++
	return d
}
