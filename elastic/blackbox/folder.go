package blackbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Suffixes of the files in a folder of boxes.
const (
	Suffix    = ".box"
	endSuffix = ".end"
)

// An End is what whoever started a peer knows of how its process ended.
type End struct {
	ID     string `json:"id"` // that it was started with
	Run    string `json:"run"`
	Worker int    `json:"worker"`
	Host   string `json:"host"`
	Boot   string `json:"boot"` // as in a Header
	PID    int    `json:"pid"`
	Began  int64  `json:"began"`
	Time   int64  `json:"time"`             // when it was gone
	Signal string `json:"signal,omitempty"` // that killed it, such as SIGKILL
	Number int    `json:"number,omitempty"` // of that signal
	Status int    `json:"status,omitempty"` // otherwise
	Asked  string `json:"asked,omitempty"`  // why and how we had asked it to end, if we had
	Crash  string `json:"crash,omitempty"`  // the line with which it said that it crashes
	Last   string `json:"last,omitempty"`   // the last line on its stderr
	Memory uint64 `json:"memory,omitempty"` // most bytes that it had
	Limit  uint64 `json:"limit,omitempty"`  // bytes that it and those beside it may have
	OOM    bool   `json:"oom,omitempty"`    // the kernel killed somebody for want of memory just then
}

// Write keeps an End in dir.
func (e End) Write(dir string) error {
	e.Crash, e.Last = shorten(e.Crash, maxText), shorten(e.Last, maxText)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("blackbox: %w", err)
	}
	text, err := json.Marshal(e)
	if err != nil {
		panic(err) // strings and numbers
	}
	f, err := os.CreateTemp(dir, "new") // mode 0600
	if err != nil {
		return fmt.Errorf("blackbox: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, fmt.Sprintf("%s.%d%s", url.PathEscape(e.ID), e.PID, endSuffix)))
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("blackbox: %w", err)
	}
	return nil
}

// ReadFolder reads the boxes and ends in a folder. Copies of a box are merged with
// it. What is no box is left out, and so is a file that cannot be read: bad has
// their names.
func ReadFolder(dir string) (all []Recording, ends []End, bad []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("blackbox: %w", err)
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		var err error
		switch {
		case strings.HasSuffix(name, Suffix):
			var r Recording
			if r, err = readBox(name); err == nil {
				all = append(all, r)
			}
		case strings.HasSuffix(name, endSuffix):
			var end End
			if end, err = readEnd(name); err == nil {
				ends = append(ends, end)
			}
		}
		if err != nil {
			bad = append(bad, e.Name())
		}
	}
	return Combine(all), ends, bad, nil
}

func readBox(name string) (Recording, error) {
	st, err := os.Stat(name)
	if err != nil {
		return Recording{}, err
	}
	if !st.Mode().IsRegular() || st.Size() > MaxSize {
		return Recording{}, ErrNoBox
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return Recording{}, err
	}
	return Parse(b)
}

func readEnd(name string) (e End, err error) {
	b, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(b, &e)
	}
	if err == nil && e.ID == "" {
		err = errors.New("no ID")
	}
	return e, err
}

// Combine merges the copies of each box, and sorts them by the names of the peers.
func Combine(all []Recording) []Recording {
	type owner struct {
		run, id, boot string
		pid           int
		start         uint64
	}
	found := map[owner]Recording{}
	for _, r := range all {
		h := r.Header
		who := owner{h.Run, h.ID, h.Boot, h.PID, h.Start}
		if have, ok := found[who]; ok {
			r = have.Merge(r)
		}
		found[who] = r
	}
	var out []Recording
	for _, r := range found {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Recording) int {
		return strings.Compare(a.Header.ID+"\x00"+a.Header.Boot, b.Header.ID+"\x00"+b.Header.Boot)
	})
	return out
}
