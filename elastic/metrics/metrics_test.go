package metrics

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func someReading() (Reading, bool) {
	return Reading{
		ID: "p0-9f01", Transport: "auto", Codec: "raw", Epoch: 3, Rank: 1, Size: 4, Step: 17,
		StepTimes: Histogram{Count: 3, Sum: 0.6, Counts: map[float64]uint64{0.1: 1, 1: 3}},
		Phases:    map[string]float64{"computing": 2.5, "reducing": 0.5},
		Samples:   640, Sent: 1000, Received: 2000, Views: 2, Joined: 3, Lost: 1, Retries: 4, Breaks: 5, Checkpoints: 6,
		Observed: map[string]float64{"loss": 0.25},
	}, true
}

func TestHandler(t *testing.T) {
	w := httptest.NewRecorder()
	Handler(someReading).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	for _, want := range []string{
		`ringrun_peer_info{codec="raw",id="p0-9f01",transport="auto"} 1`,
		"ringrun_view_epoch 3", "ringrun_view_peers 4", "ringrun_rank 1", "ringrun_step 17",
		`ringrun_step_seconds_bucket{le="0.1"} 1`, `ringrun_step_seconds_bucket{le="+Inf"} 3`, "ringrun_step_seconds_sum 0.6",
		`ringrun_phase_seconds_total{phase="computing"} 2.5`, `ringrun_phase_seconds_total{phase="reducing"} 0.5`,
		"ringrun_samples_total 640", "ringrun_sent_bytes_total 1000", "ringrun_received_bytes_total 2000",
		"ringrun_views_total 2", "ringrun_peers_joined_total 3", "ringrun_peers_lost_total 1", "ringrun_retries_total 4",
		"ringrun_ring_breaks_total 5", "ringrun_checkpoints_total 6", `ringrun_observed{name="loss"} 0.25`, "go_goroutines ",
	} {
		if !strings.Contains(w.Body.String(), "\n"+want) {
			t.Errorf("no line %q in\n%s", want, w.Body)
		}
	}
}

// Names, units and types are as Prometheus wants them.
func TestLint(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(collector(someReading))
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// A peer that is joining has no view to tell of, but is a process all the same.
func TestNothingYet(t *testing.T) {
	w := httptest.NewRecorder()
	Handler(func() (Reading, bool) { return Reading{}, false }).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK || strings.Contains(w.Body.String(), "ringrun_") || !strings.Contains(w.Body.String(), "go_goroutines ") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

// BenchmarkScrape is what one question of a Prometheus server costs.
func BenchmarkScrape(b *testing.B) {
	h := Handler(someReading)
	for b.Loop() {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil))
	}
}
