package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ringrun/ringrun/bench/plan"
)

func (p *forecast) print(w io.Writer) error {
	s, last := p.Setup, p.Table[len(p.Table)-1]
	fmt.Fprintf(w, "%d peers, %d on each host; %s parameters of %d bytes, codec %s; %v of computation in a step", s.Peers, s.Slots,
		short3(float64(s.Params)), s.Width, orRaw(s.Codec), s.Compute)
	if s.Batch > 0 {
		fmt.Fprintf(w, " of %d samples", s.Batch)
	}
	if s.Peers > s.Slots {
		fmt.Fprintf(w, "; links of %sB/s and %v", short3(s.Link.Bandwidth), s.Link.Latency)
	}
	fmt.Fprintln(w)
	if p.Run != nil {
		p.Run.print(w)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "PEERS\tSTEP\tCOMMUNICATION\tHIDDEN\tLEFT\tEFFICIENCY\t \tSPEED-UP\tSAMPLES/S\t")
	for _, r := range p.Table {
		fmt.Fprintf(t, "%d\t%v\t%v\t%v\t%v\t%.2f\t%-10s\t%.1f\t%s\t\n", r.Peers, milli(r.Step), milli(r.Comm), milli(r.Hidden), milli(r.Exposed),
			r.Efficiency, strings.Repeat("█", int(10*r.Efficiency+0.5)), r.Speedup, p.samples(r))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nlimited by %s", last.Limit)
	if last.Algorithm != "" {
		fmt.Fprintf(w, "; %d buckets, by %s", last.Buckets, last.Algorithm)
	}
	fmt.Fprintln(w)
	p.printAdvice(w, last)
	return nil
}

// samples is how many all peers consume in a second.
func (p *forecast) samples(r plan.Prediction) string {
	if p.Setup.Batch == 0 {
		return "-"
	}
	n := float64(p.Setup.Batch * r.Peers)
	if p.Setup.Constant {
		n = float64(p.Setup.Batch)
	}
	return short3(n / r.Step.Seconds())
}

func (p *forecast) printAdvice(w io.Writer, now plan.Prediction) {
	if len(p.Advice) == 0 {
		fmt.Fprintln(w, "nothing that is looked at here would help by more than 0.01")
		return
	}
	fmt.Fprintln(w, "what would help:")
	for _, a := range p.Advice {
		fmt.Fprintf(w, "  %-32s %.2f → %.2f", a.What, now.Efficiency, a.Then.Efficiency)
		if a.Needs != "" {
			fmt.Fprintf(w, "  (%s)", a.Needs)
		}
		fmt.Fprintln(w)
	}
}

func orRaw(codec string) string {
	if codec == "" {
		return "raw"
	}
	return codec
}

// short3 writes a number with three digits and a unit.
func short3(x float64) string {
	for _, u := range []struct {
		of   float64
		name string
	}{{1e12, " T"}, {1e9, " G"}, {1e6, " M"}, {1e3, " k"}} {
		if x >= u.of {
			return fmt.Sprintf("%.3g%s", x/u.of, u.name)
		}
	}
	return fmt.Sprintf("%.3g ", x)
}

func milli(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}

// svg draws the efficiency over the number of peers, which doubles from mark to
// mark. It is written by hand: a library for plots would double what has to be
// copied to every host.
func (p *forecast) svg() []byte {
	const left, top, width, height = 60.0, 30.0, 560.0, 300.0
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %v %v" font-family="sans-serif" font-size="12">`+"\n", left+width+40, top+height+50)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="%v" y="18">efficiency over the number of peers</text>`+"\n", left)
	x := func(i int) float64 { return left + width*float64(i)/float64(max(len(p.Table)-1, 1)) }
	y := func(e float64) float64 { return top + height*(1-e) }
	for i := range 6 {
		e := float64(i) / 5
		fmt.Fprintf(&b, `<path d="M%v %v h%v" stroke="#ddd"/><text x="%v" y="%v" text-anchor="end">%.1f</text>`+"\n", left, y(e), width, left-8, y(e)+4, e)
	}
	var points []string
	for i, r := range p.Table {
		points = append(points, fmt.Sprintf("%.1f,%.1f", x(i), y(r.Efficiency)))
		fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="4" fill="#06c"><title>%d peers: %.3f</title></circle>`+"\n", x(i), y(r.Efficiency), r.Peers, r.Efficiency)
		fmt.Fprintf(&b, `<text x="%.1f" y="%v" text-anchor="middle">%d</text>`+"\n", x(i), top+height+20, r.Peers)
	}
	fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="#06c" stroke-width="2"/>`+"\n</svg>\n", strings.Join(points, " "))
	return []byte(b.String())
}
