package bench

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestPlots(t *testing.T) {
	sizes := []SizeResult{
		{Peer: "ringrun-tcp", Collective: "allgather", Size: 2, Bytes: 0},
		{Peer: "ringrun-tcp", Size: 2, Bytes: 4, BusGBps: 0.001, BusLow: 0.0005, BusHigh: 0.002},
		{Peer: "ringrun-tcp", Size: 2, Bytes: 1 << 20, BusGBps: 4, BusLow: 3, BusHigh: 5},
	}
	steps := []StepResult{
		{Model: "vgg16", Transport: "tcp", Size: 1, StepMS: 100, StepLow: 99, StepHigh: 101, ComputeMS: 99},
		{Model: "vgg16", Transport: "tcp", Size: 2, StepMS: 120, StepLow: 110, StepHigh: 140, ComputeMS: 99},
		{Model: "bert", Transport: "tcp", Size: 2, StepMS: 130, StepLow: 110, StepHigh: 140, ComputeMS: 99},
	}
	for i, r := range steps {
		steps[i] = r.WithBase(nil)
	}
	for _, tt := range []struct {
		file, begins string
		draw         func(string) error
		texts        []string
	}{
		{"size.svg", "<?xml", func(f string) error { return PlotSizes(f, sizes) }, []string{"ringrun-tcp, 2 peers", "1M", "allgather", "(bytes)", "(GB/s)"}},
		{"one.svg", "<?xml", func(f string) error { return PlotSizes(f, sizes[2:]) }, []string{"1M"}},
		{"step.svg", "<?xml", func(f string) error { return PlotSteps(f, steps) }, []string{"vgg16, ringrun-tcp", "bert", "T1/Tn"}},
		{"step.PNG", "\x89PNG", func(f string) error { return PlotSteps(f, steps) }, nil},
	} {
		file := filepath.Join(t.TempDir(), tt.file)
		if err := CheckPlotFile(file); err != nil {
			t.Errorf("%s: %v", tt.file, err)
		}
		if err := tt.draw(file); err != nil {
			t.Errorf("%s: %v", tt.file, err)
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil || !bytes.HasPrefix(b, []byte(tt.begins)) {
			t.Errorf("%s begins with %.10q (%v), want %q", tt.file, b, err, tt.begins)
		}
		for _, text := range tt.texts {
			if !bytes.Contains(b, []byte(text)) {
				t.Errorf("%s does not say %q", tt.file, text)
			}
		}
	}
	if CheckPlotFile("x.jpeg") == nil {
		t.Error("CheckPlotFile takes a .jpeg")
	}
	if err := PlotSizes(filepath.Join(t.TempDir(), "x.svg"), sizes[:1]); err == nil {
		t.Error("PlotSizes draws an empty vector")
	}
}
