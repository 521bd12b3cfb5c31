package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringrun/ringrun/elastic"
	"github.com/ringrun/ringrun/membership"
)

func TestSettingsAreChecked(t *testing.T) {
	for args, want := range map[string]string{
		"-batch 0":             "-batch 0, want 1 to",
		"-batch 8 -shard 9":    "-shard 9, want 1 to 8",
		"-bytes 100":           "-bytes 100, want 1024",
		"-context 0":           "-context 0, want 1",
		"-steps 0":             "-steps 0, want at least 1",
		"-lr NaN":              "-lr NaN, want more than 0",
		"somewhere":            `unexpected argument "somewhere"`,
		"-text /does/not/be":   "/does/not/be: no such file",
		"-text main.go":        "want 1048576 to learn",
		"-sample -1 -hidden 9": "-sample -1",
	} {
		err := run(t.Context(), strings.Fields(args), io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want it to say %q", args, err, want)
		}
	}
}

// The whole program on the standard library, as a group of one: it learns more
// than how often each character comes, and does the same again.
func TestRun(t *testing.T) {
	var first summary
	for i := range 2 {
		var out bytes.Buffer
		if err := run(t.Context(), strings.Fields("-steps 250 -hidden 64 -bytes 65536 -lr 0.01 -sample 20"), &out, io.Discard); err != nil {
			t.Fatal(err)
		}
		s := parseSummary(t, out.String())
		if s.Size != 1 || s.Steps != 250 || s.Characters != 250*128 || s.Bits == nil || s.Seconds <= 0 {
			t.Errorf("summary %+v", s)
		}
		if s.TestBits > 4.2 || *s.Bits > 4.2 || s.TestBits < 1 {
			t.Errorf("%.3f bits per character learned, %.3f per character of the test; want at most 4.2", *s.Bits, s.TestBits)
		}
		if i == 0 {
			first = s
		} else if s.Params != first.Params || s.TestBits != first.TestBits {
			t.Errorf("parameters %s, in the run before %s", s.Params, first.Params)
		}
	}
}

func parseSummary(t *testing.T, out string) summary {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	last, ok := strings.CutPrefix(lines[len(lines)-1], "summary ")
	var s summary
	if err := json.Unmarshal([]byte(last), &s); !ok || err != nil {
		t.Fatalf("output ends with %q, want summary and JSON (%v)", lines[len(lines)-1], err)
	}
	if !strings.HasPrefix(lines[0], "step 1 of ") || !strings.Contains(lines[0], " bits/char ") {
		t.Errorf("no line of progress before the summary:\n%s", out)
	}
	return s
}

// words is a text in which the next character is often certain.
func words(n int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString([]string{"func ", "return ", "if err ", "range "}[rng.IntN(4)])
	}
	return b.Bytes()[:n]
}

func mustText(t *testing.T, chars []byte, learn int) *text {
	t.Helper()
	data, err := newText(chars, learn)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Any number of peers comes to the same parameters up to rounding, and all peers
// of a run to the same bits.
func TestNumberOfPeersDoesNotMatter(t *testing.T) {
	data := mustText(t, words(8000), 6000)
	s := settings{steps: 40, batch: 42, shard: 7, lr: 0.01, seed: 3, shape: shape{context: 4, embedding: 5, hidden: 12}}
	var want float64
	for _, size := range []int{1, 3} {
		var hash string
		for i, r := range runPeers(t, size, s, data) {
			sum, err := r.finish(s, data, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				hash = sum.Params
			}
			if want == 0 {
				want = sum.TestBits
			}
			if sum.Params != hash || sum.Size != size || math.Abs(sum.TestBits-want) > 1e-3 {
				t.Errorf("peer %d of %d ends with %+v; want parameters %s, %.4f bits", i, size, sum, hash, want)
			}
		}
	}
}

// A peer with another text is told so.
func TestOtherTextIsRefused(t *testing.T) {
	s := settings{steps: 5, batch: 8, shard: 4, lr: 0.01, shape: shape{context: 4, embedding: 5, hidden: 6}}
	a, b := words(4000), words(4000)
	b[77] ^= ' '
	_, errs := peers(t, 2, s, mustText(t, a, 2000), mustText(t, b, 2000))
	for i, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "embedding of text") {
			t.Errorf("peer %d: error %v, want it to name the text", i, err)
		}
	}
}

// A founder tells the others where it listens.
type founder struct{ addr chan string }

func (f founder) Write(b []byte) (int, error) {
	var e struct{ Event, Addr string }
	if err := json.Unmarshal(b, &e); err == nil && e.Event == "listening" {
		f.addr <- e.Addr
	}
	return len(b), nil
}

func runPeers(t *testing.T, size int, s settings, data *text) []*trained {
	t.Helper()
	results, errs := peers(t, size, s, data)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return results
}

// peers trains with size peers in this process, over loopback; peer i learns the
// text i, or the last one.
func peers(t *testing.T, size int, s settings, texts ...*text) ([]*trained, []error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	results, errs := make([]*trained, size), make([]error, size)
	addr := make(chan string, 1)
	var all sync.WaitGroup
	start := func(i int, m membership.Config, report io.Writer) {
		m.ID, m.Run, m.Secret = fmt.Sprintf("p%d", i), t.Name(), []byte("a secret of the test")
		all.Go(func() {
			errs[i] = elastic.Run(ctx, elastic.Config{Membership: m, Size: size, Silence: 20 * time.Second, Report: report}, func(ctx context.Context, g *elastic.Group) (err error) {
				results[i], err = train(ctx, g, s, texts[min(i, len(texts)-1)], io.Discard)
				return err
			})
		})
	}
	start(0, membership.Config{Found: true}, founder{addr})
	select {
	case a := <-addr:
		for i := 1; i < size; i++ {
			start(i, membership.Config{Join: []string{a}}, nil)
		}
	case <-ctx.Done():
	}
	all.Wait()
	return results, errs
}
