package ring_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

func TestStrides(t *testing.T) {
	for _, tt := range []struct {
		size int
		want []int
	}{{1, nil}, {2, nil}, {3, []int{2}}, {4, []int{2}}, {5, []int{2, 4}}, {8, []int{2, 4}}, {9, []int{2, 4, 8}}, {16, []int{2, 4, 8}}} {
		if got := ring.Strides(tt.size); !slices.Equal(got, tt.want) {
			t.Errorf("Strides(%d) = %d, want %d", tt.size, got, tt.want)
		}
	}
}

// TestChordsCarryFrames sends one frame over every lane and chord: it must come
// from the peer that is as far away as the stride says.
func TestChordsCarryFrames(t *testing.T) {
	for _, size := range []int{2, 3, 4, 5, 8, 9} {
		synctest.Test(t, func(t *testing.T) {
			net := ringtest.NewNet(ringtest.Options{Lanes: 2, Delay: time.Millisecond})
			rings := openAll(t, net, names(size), ring.Config{Epoch: 7, Chords: true})
			defer closeAll(t, net, rings)
			for i, r := range rings {
				if got, want := len(r.Chords()), len(ring.Strides(size)); got != want {
					t.Fatalf("size %d: %d chords, want %d", size, got, want)
				}
				for j, l := range r.Chords() {
					if err := l.Send(ring.Header{}, fmt.Appendf(nil, "from %d over %d", i, j)); err != nil {
						t.Fatal(err)
					}
				}
			}
			for i, r := range rings {
				for j, l := range r.Chords() {
					got, want := readFrame(t, l), fmt.Sprintf("from %d over %d", (i+size-ring.Strides(size)[j])%size, j)
					if got != want {
						t.Errorf("size %d, p%d, chord %d: got %q, want %q", size, i, j, got, want)
					}
				}
			}
		})
	}
}

func readFrame(t *testing.T, l *ring.Lane) string {
	t.Helper()
	h, err := l.Next()
	if err != nil {
		t.Fatal(err)
	}
	body := make([]byte, h.Length)
	if _, err := io.ReadFull(l, body); err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// readChords keeps a reader on every chord.
func readChords(rings []*ring.Ring) {
	for _, r := range rings {
		for _, l := range r.Chords() {
			go drain(l)
		}
	}
}

// TestIdleChordsLive: nothing is sent for a long time, and nobody is accused.
func TestIdleChordsLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := ringtest.NewNet(ringtest.Options{Delay: 100 * time.Millisecond})
		rings := openAll(t, net, names(9), ring.Config{Chords: true})
		defer closeAll(t, net, rings)
		readAll(rings)
		readChords(rings)
		time.Sleep(time.Minute)
		for i, r := range rings {
			if err := r.Err(); err != nil {
				t.Errorf("p%d: %v", i, err)
			}
		}
	})
}

// TestSilentChord: only the link over a chord is cut. Whoever reads from it sees
// that, and all learn it.
func TestSilentChord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := ringtest.NewNet(ringtest.Options{})
		rings := openAll(t, net, names(8), ring.Config{Chords: true})
		defer closeAll(t, net, rings)
		readAll(rings)
		readChords(rings)
		net.Cut("p1", "p5")
		for i, r := range rings {
			<-r.Done()
			if !errors.Is(r.Err(), ring.ErrBroken) {
				t.Errorf("p%d: %v", i, r.Err())
			}
		}
	})
}

// TestChordsSpreadNews: an abort crosses a ring of 16 in four delays over the
// chords, where it takes eight without.
func TestChordsSpreadNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := ringtest.NewNet(ringtest.Options{Delay: 10 * time.Millisecond})
		rings := openAll(t, net, names(16), ring.Config{Chords: true})
		defer closeAll(t, net, rings)
		readAll(rings)
		readChords(rings)
		begin := time.Now()
		go rings[3].Fail(1, "the end")
		for _, r := range rings {
			<-r.Done()
		}
		if d := time.Since(begin); d > 40*time.Millisecond {
			t.Errorf("it took %v", d)
		}
	})
}

// TestGroupsDieTogether: a ring of some breaks when the ring of all does, and the
// other way round; all learn who broke it.
func TestGroupsDieTogether(t *testing.T) {
	for _, first := range []string{"ring", "group"} {
		synctest.Test(t, func(t *testing.T) {
			net := ringtest.NewNet(ringtest.Options{Delay: time.Millisecond})
			rings := openAll(t, net, names(5), ring.Config{Epoch: 2})
			defer closeAll(t, net, rings)
			groups := openGroup(t, rings, []int{3, 1, 2}, 1)
			readAll(rings)
			readAll(groups)
			if first == "ring" {
				rings[0].Fail(6, "as agreed")
			} else {
				groups[1].Fail(6, "as agreed")
			}
			for i, r := range slices.Concat(rings, groups) {
				<-r.Done()
				why, ok := errors.AsType[*ring.AbortError](r.Err())
				if !ok || why.Code != 6 || !strings.HasSuffix(why.Text, "as agreed") {
					t.Errorf("%s first: ring %d of %q: %v", first, i, r.Peers(), r.Err())
				}
			}
		})
	}
}

// openGroup opens the ring of a group on all its members.
func openGroup(t *testing.T, rings []*ring.Ring, ranks []int, number int) []*ring.Ring {
	t.Helper()
	groups := make([]*ring.Ring, len(ranks))
	done := make(chan error, len(ranks)) // one each
	for i, rank := range ranks {
		go func() {
			var err error
			groups[i], err = rings[rank].Group(t.Context(), ranks, number)
			done <- err
		}()
	}
	for range ranks {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	return groups
}

// TestGroups opens two rings that share a pair of peers, beside that of all, and
// closes one; the others work on.
func TestGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := ringtest.NewNet(ringtest.Options{Delay: time.Millisecond})
		rings := openAll(t, net, names(4), ring.Config{Epoch: 2, Chords: true})
		defer closeAll(t, net, rings)
		a, b := openGroup(t, rings, []int{0, 1}, 1), openGroup(t, rings, []int{1, 0, 3}, 2)
		for i, want := range []string{"p1", "p0", "p3"} {
			if r := b[i]; r.Rank() != i || r.Peers()[i] != want || r.Epoch() != 2 || r.Size() != 3 {
				t.Errorf("rank %d of %q in epoch %d, want %s as rank %d", r.Rank(), r.Peers(), r.Epoch(), want, i)
			}
		}
		for _, r := range a {
			r.Close()
		}
		for i, r := range b {
			if err := r.Lanes()[0].Send(ring.Header{}, fmt.Appendf(nil, "%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		for i, r := range b {
			if got, want := readFrame(t, r.Lanes()[0]), fmt.Sprint((i+2)%3); got != want {
				t.Errorf("rank %d: got %s, want %s", i, got, want)
			}
		}
		for _, r := range rings {
			if err := r.Err(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestGroupNonsense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := ringtest.NewNet(ringtest.Options{})
		rings := openAll(t, net, names(3), ring.Config{})
		defer closeAll(t, net, rings)
		for _, tt := range []struct {
			ranks  []int
			number int
			want   string
		}{
			{[]int{0, 3}, 1, "group of rank 3 of 3"},
			{[]int{0, -1}, 1, "group of rank -1 of 3"},
			{[]int{0, 1, 0}, 1, "rank 0 is twice"},
			{[]int{1, 2}, 1, "rank 0 is not in the group"},
			{nil, 1, "rank 0 is not in the group"},
			{[]int{0, 1}, 0, "group number 0"},
			{[]int{0, 1}, ring.MaxGroup + 1, "group number"},
		} {
			if _, err := rings[0].Group(t.Context(), tt.ranks, tt.number); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Group(%v, %d): %v, want %q", tt.ranks, tt.number, err, tt.want)
			}
		}
	})
}
