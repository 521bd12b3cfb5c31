package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/bench"
)

const (
	millisecond = time.Millisecond
	mbit        = 1e6 / 8
	payload     = 0.94 // of the line rate, see docs/performance.md
)

func predict(t testing.TB, s Setup) Prediction {
	t.Helper()
	p, err := s.Predict()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What an algorithm takes is what the model says by which peers choose it.
func TestCostsAreThoseOfTheChoice(t *testing.T) {
	s := Setup{Params: 1, Compute: 1, Slots: 1, Link: Link{70 * time.Microsecond, 1e8}}.withDefaults()
	k := allreduce.Costs{}
	for i := range k {
		k[i].Step = 70e3
		for j, bytes := range []float64{8, 16 << 10, 256 << 10} {
			k[i].Bytes[j] = (bytes - 8) * 10 // ns
		}
	}
	for _, n := range []int{2, 3, 4, 7, 8, 16} {
		s.Peers = n
		for _, bytes := range []int{8, 1000, 100_000, 1 << 20, 64 << 20} {
			for a, got := range map[allreduce.Algorithm]cost{
				allreduce.Ring: s.ring(n, n, bytes), allreduce.Exchange: s.exchange(bytes), allreduce.Dissemination: s.dissemination(bytes),
			} {
				want := k.Time(a, n, bytes).Seconds()
				if math.Abs(got.time()-want) > 1e-6+0.001*want {
					t.Errorf("%v among %d of %d bytes: %v s, want %v", a, n, bytes, got.time(), want)
				}
			}
		}
	}
}

// Steps that were measured between network namespaces shaped to 100 Mbit/s: ten
// layers, 100 ms forward and 200 ms backward, slept.
func TestMeasuredSteps(t *testing.T) {
	for _, tt := range []struct {
		peers, layer int
		late         bool
		measured     time.Duration
	}{
		{4, 160e3, false, 316 * millisecond}, {4, 320e3, false, 517 * millisecond},
		{4, 160e3, true, 498 * millisecond}, {4, 320e3, true, 698 * millisecond},
		{8, 80e3, false, 315 * millisecond}, {8, 160e3, false, 352 * millisecond}, {8, 320e3, false, 589 * millisecond},
		{16, 160e3, false, 370 * millisecond},
	} {
		s := Setup{
			Peers: tt.peers, Params: 10 * tt.layer / 4, Compute: 300 * millisecond, First: tt.layer, Bucket: tt.layer, Late: tt.late,
			Layers: slices.Repeat([]Layer{{tt.layer / 4, 1}}, 10), Link: Link{50 * time.Microsecond, 100 * mbit * payload},
		}
		p := predict(t, s)
		if off := p.Step.Seconds()/tt.measured.Seconds() - 1; math.Abs(off) > 0.05 {
			t.Errorf("%d peers, %d bytes a layer, late %v: %v, measured %v (%+.1f %%)", tt.peers, tt.layer, tt.late, p.Step, tt.measured, 100*off)
		}
	}
}

var measured = flag.String("measured", "", "the output of ringbench scale -json, with one peer and with more on hosts of their own")
var rate = flag.Float64("mbit", 100, "line rate of the links there")
var first, others = flag.Int("first", 1<<20, "bytes of the first bucket there"), flag.Int("bucket", 25<<20, "of the others")

// Steps that ringbench has just measured on links of a known rate.
func TestAgainstRingbench(t *testing.T) {
	if *measured == "" {
		t.Skip("-measured names no file")
	}
	text, err := os.ReadFile(*measured)
	if err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(bytes.NewReader(text)); dec.More(); {
		var r bench.StepResult
		if err := dec.Decode(&r); err != nil {
			t.Fatal(err)
		}
		m, err := bench.LookupModel(r.Model)
		if err != nil {
			t.Fatal(err)
		}
		p := predict(t, Setup{
			Peers: r.Size, Params: r.Params, Codec: r.Codec, Compute: time.Duration(r.ComputeMS * 1e6), First: *first, Bucket: *others,
			Layers: layersOf(m.Scaled(float64(r.Params) / float64(m.Params()))), Link: Link{50 * time.Microsecond, *rate * mbit * payload},
		})
		off := float64(p.Step.Microseconds())/1e3/r.StepMS - 1
		t.Logf("%s, %s, %d peers: %.0f ms (%.0f exposed) measured, %v (%v) predicted, %+.1f %%", r.Model, r.Codec, r.Size, r.StepMS, r.ExposedMS,
			p.Step.Round(time.Millisecond), p.Exposed.Round(time.Millisecond), 100*off)
		if math.Abs(off) > 0.1 {
			t.Errorf("that is off by more than 10 %%")
		}
	}
}

// The efficiencies that Horovod published, on hosts of four GPUs with 25 Gbit/s: it
// had one ring through all of them, so every hop counts as one between hosts.
func TestPublishedEfficiencies(t *testing.T) {
	sum := 0.0
	points := []struct {
		model string
		hosts int
		want  float64
	}{
		{"inception3", 32, .90}, {"inception3", 128, .90}, {"resnet101", 32, .90}, {"resnet101", 128, .90}, {"vgg16", 32, .79}, {"vgg16", 128, .68},
	}
	for _, tt := range points {
		m, err := bench.LookupModel(tt.model)
		if err != nil {
			t.Fatal(err)
		}
		s := Setup{
			Peers: 4 * tt.hosts, Params: m.Params(), Compute: m.Compute, First: 64 << 20, Bucket: 64 << 20, Cycle: 5 * millisecond, Jitter: 0.02,
			Layers: layersOf(m), Link: Link{20 * time.Microsecond, 25000 * mbit * 0.95},
		}
		got := predict(t, s).Efficiency
		sum += (got - tt.want) * (got - tt.want)
		t.Logf("%s on %d GPUs: %.3f, published %.2f", tt.model, 4*tt.hosts, got, tt.want)
		if math.Abs(got-tt.want) > 0.05 {
			t.Errorf("%s on %d GPUs: efficiency %.3f, published %.2f", tt.model, 4*tt.hosts, got, tt.want)
		}
	}
	if rmse := math.Sqrt(sum / float64(len(points))); rmse > 0.03 {
		t.Errorf("root of the mean square %.3f", rmse)
	}
}

func layersOf(m bench.Model) (all []Layer) {
	for _, l := range slices.Backward(m.Layers) {
		n := 0
		for _, x := range l.Tensors {
			n += x.Len
		}
		all = append(all, Layer{n, l.Work})
	}
	return all
}

// Better links, or less to send, never make a step longer; nothing is below what
// computation takes; and parts add up.
func TestProperties(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		s := Setup{
			Peers: 1 + rng.IntN(100), Slots: 1 + rng.IntN(8), Params: 1 + rng.IntN(1e8), Compute: time.Duration(1 + rng.IntN(1e9)),
			Update: time.Duration(rng.IntN(1e6)), Late: rng.IntN(2) == 0, Jitter: rng.Float64() / 10, Constant: rng.IntN(2) == 0,
			Bucket: 1 + rng.IntN(30e6), Codec: "half", // with which peers do not choose by the time of one vector alone
			Link: Link{time.Duration(rng.IntN(1e7)), math.Pow(10, 6+4*rng.Float64())},
		}
		p := predict(t, s)
		better := map[string]Setup{"bandwidth": s, "latency": s, "codec": s, "overlap": s}
		for name, b := range better {
			switch name {
			case "bandwidth":
				b.Link.Bandwidth *= 2
			case "latency":
				b.Link.Latency /= 2
			case "codec":
				b.Params = (b.Params + 1) / 2
			case "overlap":
				b.Late = false
			}
			if q := predict(t, b); q.Step > p.Step+p.Step/1000+1000 && name != "codec" {
				t.Errorf("better %s: %v instead of %v, of %+v", name, q.Step, p.Step, s)
			}
		}
		if p.Step < p.Compute || p.Efficiency > 1.0001 || p.Speedup > 1.0001*float64(s.Peers) || p.Hidden+p.Exposed > p.Comm+p.Comm/1000+1000 && p.Exposed < p.Comm {
			t.Errorf("%+v of %+v", p, s)
		}
		if (s.Peers == 1) != (p.Comm == 0) || p.Limit == "" {
			t.Errorf("%+v of %+v", p, s)
		}
	}
}

func TestTable(t *testing.T) {
	s := Setup{Peers: 6, Params: 25e6, Compute: 180 * millisecond, Link: Link{100 * time.Microsecond, 1000 * mbit * payload}}
	all, err := s.Table()
	if err != nil {
		t.Fatal(err)
	}
	var peers []int
	for _, p := range all {
		peers = append(peers, p.Peers)
	}
	if !slices.Equal(peers, []int{1, 2, 4, 6}) || all[0].Efficiency != 1 || all[0].Speedup != 1 {
		t.Errorf("peers %v, alone %+v", peers, all[0])
	}
	if p := all[3]; p.Step < time.Second || !strings.HasPrefix(p.Limit, "bandwidth: 166.7 MB leave each host") {
		t.Errorf("among six: %+v", p)
	}
}

// What would help is said, and what comes of it; where nothing is wrong there is
// nothing to say.
func TestAdvice(t *testing.T) {
	slow := Setup{Peers: 8, Params: 25e6, Compute: 1500 * millisecond, Link: Link{100 * time.Microsecond, 1000 * mbit * payload}}
	all, err := slow.Advice()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for i, a := range all {
		found[a.What] = true
		if a.Gain < leastGain || i > 0 && a.Gain > all[i-1].Gain || a.Then.Efficiency <= predict(t, slow).Efficiency {
			t.Errorf("advice %d: %+v", i, a)
		}
	}
	if !found["-codec half"] || !found["links of twice the bandwidth"] || found["links of half the latency"] {
		t.Errorf("advice %v", found)
	}
	fast := slow
	fast.Link.Bandwidth = 1e11
	if all, err := fast.Advice(); err != nil || len(all) > 0 {
		t.Errorf("on fast links: %+v, %v", all, err)
	}
	far := slow
	far.Link = Link{50 * millisecond, 1e12}
	if p := predict(t, far); !strings.HasPrefix(p.Limit, "latency") {
		t.Errorf("on far links: %+v", p)
	}
}

func TestMistakes(t *testing.T) {
	good := Setup{Peers: 2, Params: 1, Compute: 1, Link: Link{0, 1}}
	predict(t, good)
	for i, change := range []func(s *Setup){
		func(s *Setup) { s.Peers = 0 }, func(s *Setup) { s.Params = 0 }, func(s *Setup) { s.Compute = 0 }, func(s *Setup) { s.Codec = "zstd" },
		func(s *Setup) { s.Link.Bandwidth = 0 }, func(s *Setup) { s.Forward = 1 }, func(s *Setup) { s.Layers = []Layer{{1, 0}} },
		func(s *Setup) { s.Jitter = math.NaN() }, func(s *Setup) { s.Link.Bandwidth = math.NaN() }, func(s *Setup) { s.Bucket = -1 },
	} {
		s := good
		change(&s)
		var e *ErrSetup
		if _, err := s.Predict(); !errors.As(err, &e) {
			t.Errorf("mistake %d: %v", i, err)
		}
	}
}
