package bench

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// CheckPlotFile returns an error unless the name ends in .svg or .png.
func CheckPlotFile(file string) error {
	if ext := strings.ToLower(filepath.Ext(file)); ext != ".svg" && ext != ".png" {
		return fmt.Errorf("%q ends neither in .svg nor in .png", file)
	}
	return nil
}

// PlotSizes draws bus bandwidth over the size of the vector. All results are of
// the same collective.
func PlotSizes(file string, results []SizeResult) error {
	title := ""
	if len(results) > 0 {
		title = results[0].Collective
	}
	p := newPlot(title, "vector (bytes)", "bus bandwidth (GB/s)")
	p.X.Scale = plot.LogScale{}
	lines := grouped[SizeResult]{}
	var ticks []plot.Tick
	for _, r := range results {
		if r.Bytes == 0 {
			continue // has no logarithm
		}
		label := fmt.Sprintf("%s, %d peers", r.Peer, r.Size)
		lines.add(label, r, plotter.XY{X: float64(r.Bytes), Y: r.BusGBps})
		ticks = append(ticks, plot.Tick{Value: float64(r.Bytes), Label: FormatSize(r.Bytes)})
	}
	if len(ticks) == 0 {
		return errors.New("bench: nothing to plot: every vector was empty")
	}
	first, last := extent(ticks)
	p.X.Min, p.X.Max = first/1.5, last*1.5
	p.X.Tick.Marker = plot.ConstantTicks(ticks)
	return lines.save(p, file, func(r SizeResult) (low, high float64) { return r.BusLow, r.BusHigh })
}

// PlotSteps draws efficiency over the number of peers, a line per model.
func PlotSteps(file string, results []StepResult) error {
	p := newPlot("Emulated training", "peers", "efficiency (T1/Tn)")
	lines := grouped[StepResult]{}
	var ticks []plot.Tick
	for _, r := range results {
		label := fmt.Sprintf("%s, %s", r.Model, Label(r.Transport, r.Codec))
		lines.add(label, r, plotter.XY{X: float64(r.Size), Y: r.Efficiency})
		ticks = append(ticks, plot.Tick{Value: float64(r.Size), Label: strconv.Itoa(r.Size)})
	}
	if len(ticks) == 0 {
		return errors.New("bench: nothing to plot")
	}
	p.X.Tick.Marker = plot.ConstantTicks(ticks)
	first, last := extent(ticks)
	p.X.Min, p.X.Max = first-0.5, last+0.5
	return lines.save(p, file, func(r StepResult) (low, high float64) {
		return r.BaseMS / r.StepHigh, r.BaseMS / r.StepLow
	})
}

func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Legend.Top = true
	p.Legend.XOffs, p.Legend.YOffs = -vg.Points(8), -vg.Points(4)
	p.Legend.Padding = vg.Points(3)
	p.Add(plotter.NewGrid())
	return p
}

func extent(ticks []plot.Tick) (first, last float64) {
	first, last = math.Inf(1), math.Inf(-1)
	for _, t := range ticks {
		first, last = min(first, t.Value), max(last, t.Value)
	}
	return first, last
}

// grouped holds points by the label of their line, in the order of arrival.
type grouped[R any] struct {
	labels  []string
	points  map[string]plotter.XYs
	results map[string][]R
}

func (g *grouped[R]) add(label string, r R, at plotter.XY) {
	if g.points == nil {
		g.points, g.results = map[string]plotter.XYs{}, map[string][]R{}
	}
	if !slices.Contains(g.labels, label) {
		g.labels = append(g.labels, label)
	}
	g.points[label] = append(g.points[label], at)
	g.results[label] = append(g.results[label], r)
}

// spreadPoints are points with the range of the rounds above and below.
type spreadPoints struct {
	plotter.XYs
	plotter.YErrors
}

// save draws each line with its ranges, from zero up, and writes the file.
func (g *grouped[R]) save(p *plot.Plot, file string, around func(R) (low, high float64)) error {
	p.Y.Min = 0
	for i, label := range g.labels {
		pts := spreadPoints{XYs: g.points[label]}
		for j, r := range g.results[label] {
			low, high := around(r)
			y := pts.XYs[j].Y
			pts.YErrors = append(pts.YErrors, struct{ Low, High float64 }{max(0, y-low), max(0, high-y)})
		}
		line, dots, err := plotter.NewLinePoints(pts.XYs)
		if err != nil {
			return fmt.Errorf("bench: plot: %w", err)
		}
		bars, err := plotter.NewYErrorBars(pts)
		if err != nil {
			return fmt.Errorf("bench: plot: %w", err)
		}
		line.Color, dots.Color, bars.Color = plotutil.Color(i), plotutil.Color(i), plotutil.Color(i)
		dots.Shape = draw.CircleGlyph{}
		p.Add(line, dots, bars)
		p.Legend.Add(label, line, dots)
	}
	p.Y.Max *= 1.1 + 0.05*float64(len(g.labels)) // room for the legend
	if err := p.Save(7*vg.Inch, 4.5*vg.Inch, file); err != nil {
		return fmt.Errorf("bench: plot: %w", err)
	}
	return nil
}
