package elastic

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/ringrun/ringrun/elastic/blackbox"
)

const (
	maxCopies = 8
	maxLetter = 1 << 20 // bytes of a letter
)

// copies are those of other peers' boxes.
type copies struct {
	run, keeper string
	dir         string // "": in memory

	mu    sync.Mutex // guards the fields below
	boxes map[string]*blackbox.Box
	order []string // their names, the oldest first
}

// put adds what a letter says, and returns the newest event that the copy has.
func (s *copies) put(l letter) (uint64, error) {
	if l.Header.Run != s.run || l.Header.ID == "" || len(l.Header.ID) > 128 || l.Header.ID == s.keeper {
		return 0, errors.New("elastic: not a box of this run")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := fmt.Sprintf("%s %d %d", l.Header.ID, l.Header.PID, l.Header.Start)
	b := s.boxes[name]
	if b == nil {
		var err error
		if b, err = s.begin(name, l.Header); err != nil {
			return 0, err
		}
	}
	have := b.Last()
	for _, e := range l.Events {
		if e.Seq > have {
			b.Note(e)
			have = e.Seq
		}
	}
	if l.Gauge.Turn > 0 {
		b.Pulse(l.Gauge)
	}
	return have, nil
}

func (s *copies) begin(name string, h blackbox.Header) (*blackbox.Box, error) {
	h.Keeper = s.keeper
	b, err := (*blackbox.Box)(nil), error(nil)
	if s.dir == "" {
		b = blackbox.New(h)
	} else if b, err = blackbox.Create(s.dir, h); err != nil {
		return nil, err
	}
	if len(s.order) == maxCopies {
		s.drop(s.order[0])
		s.order = s.order[1:]
	}
	s.boxes[name], s.order = b, append(s.order, name)
	return b, nil
}

// drop throws a copy away.
func (s *copies) drop(name string) {
	b := s.boxes[name]
	delete(s.boxes, name)
	_ = b.Close()
	if b.Name() != "" {
		_ = os.Remove(b.Name())
	}
}

func (s *copies) all() (boxes []*blackbox.Box) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range s.order {
		boxes = append(boxes, s.boxes[name])
	}
	return boxes
}

func (s *copies) close() {
	for _, b := range s.all() {
		_ = b.Close() // what is in it is in the file
	}
}

// Boxes is what a peer has of black boxes: GET /blackbox.
type Boxes struct {
	Clock int64    `json:"clock"` // when it answered
	Boxes [][]byte `json:"boxes"` // for blackbox.Parse, its own first
}

func (r *recorder) serve(w http.ResponseWriter, _ *http.Request) {
	all := Boxes{Clock: time.Now().UnixNano(), Boxes: [][]byte{r.box.Bytes()}}
	for _, b := range r.copies.all() {
		all.Boxes = append(all.Boxes, b.Bytes())
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(all) // whoever asked has gone
}

func (r *recorder) receive(w http.ResponseWriter, q *http.Request) {
	now := time.Now().UnixNano()
	var l letter
	if err := json.NewDecoder(http.MaxBytesReader(w, q.Body, maxLetter)).Decode(&l); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	have, err := r.copies.put(l)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(receipt{have, now})
}
