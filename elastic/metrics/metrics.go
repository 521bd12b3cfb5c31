// Package metrics tells a Prometheus server what a peer counts. Nothing happens
// between two scrapes.
package metrics

import (
	"maps"
	"net/http"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A Reading is what a peer has counted since it began. Times are in seconds.
type Reading struct {
	ID, Transport, Codec string

	Epoch uint64 // of the view
	Rank  int    // -1 before the first view
	Size  int

	Step      uint64 // committed since the run began
	StepTimes Histogram
	Phases    map[string]float64 // what it spent in each
	Samples   uint64             // of all peers, in the steps that it committed
	Sent      uint64             // bytes
	Received  uint64

	Views, Joined, Lost, Retries, Breaks, Checkpoints uint64

	Observed map[string]float64 // what the program says
}

// A Histogram counts times up to each bound, those of the smaller ones included.
type Histogram struct {
	Count  uint64
	Sum    float64
	Counts map[float64]uint64
}

// inFlight is how many scrapes are served at the same time.
const inFlight = 4

// Handler serves what read returns, and what Go and the kernel know of the
// process. read returns false as long as there is nothing to tell.
func Handler(read func() (Reading, bool)) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(collector(read), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: inFlight})
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("ringrun_"+name, help, labels, nil)
}

// The IDs of peers are in one metric alone: a peer that starts anew has another,
// and would begin every series again.
var (
	info        = describe("peer_info", "Always 1; names the peer, its transport and its codec.", "id", "transport", "codec")
	epoch       = describe("view_epoch", "Number of the view that this peer is in; 0 before the first.")
	size        = describe("view_peers", "Peers in the view.")
	rank        = describe("rank", "Place of this peer in the view; -1 before the first.")
	step        = describe("step", "Steps that the run has committed.")
	stepTimes   = describe("step_seconds", "From one committed step to the next.")
	phases      = describe("phase_seconds_total", "Time that this peer has spent in each phase.", "phase")
	samples     = describe("samples_total", "Samples of all peers in the steps that this peer has committed.")
	sent        = describe("sent_bytes_total", "Bytes that others have got from this peer, by links or shared memory.")
	received    = describe("received_bytes_total", "Bytes that this peer has got from others.")
	views       = describe("views_total", "Views that this peer has been in.")
	joined      = describe("peers_joined_total", "Peers that have joined since.")
	lost        = describe("peers_lost_total", "Peers that are gone and have not said that they leave.")
	retries     = describe("retries_total", "Steps that were reduced again because a ring broke.")
	breaks      = describe("ring_breaks_total", "Rings that broke.")
	checkpoints = describe("checkpoints_total", "Checkpoints that this peer has written.")
	observed    = describe("observed", "What the program says of itself, such as its loss.", "name")
)

type collector func() (Reading, bool)

// Describe implements [prometheus.Collector].
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{info, epoch, size, rank, step, stepTimes, phases, samples, sent, received,
		views, joined, lost, retries, breaks, checkpoints, observed} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c collector) Collect(ch chan<- prometheus.Metric) {
	r, ok := c()
	if !ok {
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge(info, 1, r.ID, r.Transport, r.Codec)
	gauge(epoch, float64(r.Epoch))
	gauge(size, float64(r.Size))
	gauge(rank, float64(r.Rank))
	gauge(step, float64(r.Step))
	ch <- prometheus.MustNewConstHistogram(stepTimes, r.StepTimes.Count, r.StepTimes.Sum, r.StepTimes.Counts)
	for _, p := range slices.Sorted(maps.Keys(r.Phases)) {
		counter(phases, r.Phases[p], p)
	}
	for d, n := range map[*prometheus.Desc]uint64{
		samples: r.Samples, sent: r.Sent, received: r.Received, views: r.Views, joined: r.Joined, lost: r.Lost,
		retries: r.Retries, breaks: r.Breaks, checkpoints: r.Checkpoints,
	} {
		counter(d, float64(n))
	}
	for name, v := range r.Observed {
		gauge(observed, v, name)
	}
}
