package bench

import (
	"fmt"
	"io"
	"strings"
)

// SizeResult is what a Sweep found for one size. In JSON it has the fields of
// other all-reduce benchmarks' lines, so that they compare.
type SizeResult struct {
	Peer       string  `json:"peer"` // whose all-reduce: ringrun, transport, codec
	Size       int     `json:"np"`
	Bytes      int     `json:"bytes"`
	Count      int     `json:"count"`
	Type       string  `json:"type"`
	Op         string  `json:"op"`
	Collective string  `json:"collective"`
	MedianUS   float64 `json:"median_us"`
	MinUS      float64 `json:"min_us"`
	P99US      float64 `json:"p99_us"`
	MeanUS     float64 `json:"mean_us"`
	AlgGBps    float64 `json:"algbw_GBps"`
	BusGBps    float64 `json:"busbw_GBps"`
	BusLow     float64 `json:"busbw_lo"`     // of the slowest round
	BusHigh    float64 `json:"busbw_hi"`     // of the fastest round
	CPUPerGB   float64 `json:"cpu_s_per_GB"` // seconds, all peers, per GB of vector
	CPUs       float64 `json:"cpu_util"`     // processors that the peers kept busy
	Foreign    float64 `json:"foreign_cpu"`  // processors that others kept busy
	Steal      float64 `json:"steal"`
	Iters      int     `json:"iters"` // operations per round
	Rounds     int     `json:"rounds"`
	Errors     int     `json:"errors"` // wrong elements, all peers
	OK         bool    `json:"ok"`
	Transport  string  `json:"transport"`
	Codec      string  `json:"codec"`
	Algorithm  string  `json:"algorithm,omitempty"` // of an all-reduce
	Warmup     int     `json:"warmup_iters"`        // before the first round
	MemoryMB   float64 `json:"mem_MB"`              // of the largest peer, beside its vectors
}

// StepResult is what a Training found with one number of peers.
type StepResult struct {
	Model      string  `json:"model"`
	Size       int     `json:"np"`
	Transport  string  `json:"transport"`
	Codec      string  `json:"codec"`
	Params     int     `json:"params"` // after scaling
	Bytes      int     `json:"bytes"`
	Buckets    int     `json:"buckets"`
	ComputeMS  float64 `json:"compute_ms"` // what was slept per step
	StepMS     float64 `json:"step_ms"`
	StepLow    float64 `json:"step_ms_lo"` // of the fastest round
	StepHigh   float64 `json:"step_ms_hi"` // of the slowest round
	CommMS     float64 `json:"comm_ms"`    // with at least one bucket on its way
	ExposedMS  float64 `json:"exposed_ms"` // of that, after the backward pass
	Efficiency float64 `json:"efficiency"` // T1/Tn
	BaseMS     float64 `json:"base_ms"`    // T1
	BaseFrom   string  `json:"base_from"`  // "measured" or "computed"
	BusGBps    float64 `json:"busbw_GBps"` // while buckets were on their way
	CPUPerGB   float64 `json:"cpu_s_per_GB"`
	Foreign    float64 `json:"foreign_cpu"`
	Steps      int     `json:"steps"` // per round
	Rounds     int     `json:"rounds"`
	Errors     int     `json:"errors"`
	OK         bool    `json:"ok"`
}

// WithBase sets the efficiency against T1: the measured step of one peer, or if
// that is nil, the time that the step computes.
func (r StepResult) WithBase(one *StepResult) StepResult {
	r.BaseMS, r.BaseFrom = r.ComputeMS, "computed"
	if one != nil {
		r.BaseMS, r.BaseFrom = one.StepMS, "measured"
	}
	if r.StepMS > 0 {
		r.Efficiency = r.BaseMS / r.StepMS
	}
	return r
}

// SizeHeader writes the head of the table that SizeResult.WriteRow fills.
func SizeHeader(w io.Writer) {
	fmt.Fprintf(w, "#%12s %12s %8s %8s %12s %8s %8s %17s %8s %8s\n",
		"size", "count", "type", "redop", "time", "algbw", "busbw", "busbw, rounds", "cpu", "errors")
	fmt.Fprintf(w, "#%12s %12s %8s %8s %12s %8s %8s %17s %8s %8s\n",
		"(B)", "(elements)", "", "", "(us)", "(GB/s)", "(GB/s)", "(GB/s)", "(s/GB)", "")
}

// WriteRow writes one line of the table.
func (r SizeResult) WriteRow(w io.Writer) {
	fmt.Fprintf(w, " %12d %12d %8s %8s %12s %8s %8s %17s %8s %8d\n",
		r.Bytes, r.Count, r.Type, r.Op, figure(r.MedianUS), figure(r.AlgGBps), figure(r.BusGBps),
		figure(r.BusLow)+" - "+figure(r.BusHigh), figure(r.CPUPerGB), r.Errors)
}

// StepHeader writes the head of the table that StepResult.WriteRow fills.
func StepHeader(w io.Writer) {
	fmt.Fprintf(w, "#%11s %6s %10s %17s %10s %10s %10s %8s %8s %8s\n",
		"model", "peers", "step", "step, rounds", "efficiency", "comm", "exposed", "busbw", "cpu", "errors")
	fmt.Fprintf(w, "#%11s %6s %10s %17s %10s %10s %10s %8s %8s %8s\n",
		"", "", "(ms)", "(ms)", "(T1/Tn)", "(ms)", "(ms)", "(GB/s)", "(s/GB)", "")
}

// WriteRow writes one line of the table.
func (r StepResult) WriteRow(w io.Writer) {
	fmt.Fprintf(w, " %11s %6d %10s %17s %10.3f %10s %10s %8s %8s %8d\n",
		r.Model, r.Size, figure(r.StepMS), figure(r.StepLow)+" - "+figure(r.StepHigh), r.Efficiency,
		figure(r.CommMS), figure(r.ExposedMS), figure(r.BusGBps), figure(r.CPUPerGB), r.Errors)
}

// figure writes a number so that three or four digits of it are seen.
func figure(x float64) string {
	digits := 0
	switch {
	case x == 0:
		return "0"
	case x < 0.001:
		return strings.Replace(fmt.Sprintf("%.1e", x), "e-0", "e-", 1)
	case x < 1:
		digits = 3
	case x < 100:
		digits = 2
	case x < 10000:
		digits = 1
	}
	return fmt.Sprintf("%.*f", digits, x)
}
