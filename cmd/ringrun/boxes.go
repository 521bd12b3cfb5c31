package main

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"

	"github.com/ringrun/ringrun/elastic/blackbox"
)

// boxesDir is where the black boxes of a run are, beside what -detach keeps of its
// output.
const boxesDir = "boxes"

// keptRuns is how many runs keep theirs: a box is a quarter of a megabyte.
const keptRuns = 10

func boxFolder(run string) (string, error) {
	dir, err := logFolder(run)
	return filepath.Join(dir, boxesDir), err
}

// boxesFor returns the folder for the boxes of a run that begins here, and throws
// away those of old ones. Without a home there is none: boxes are in memory then.
func boxesFor(run string) string {
	dir, err := boxFolder(run)
	if err != nil || os.MkdirAll(dir, 0o700) != nil {
		return ""
	}
	for i, old := range boxFolders(filepath.Dir(filepath.Dir(dir))) {
		if i >= keptRuns && !anyLives(old) {
			_ = os.RemoveAll(old)
			_ = os.Remove(filepath.Dir(old)) // if it holds nothing else
		}
	}
	return dir
}

// boxFolders lists those of all runs, the newest first.
func boxFolders(state string) []string {
	all, _ := filepath.Glob(filepath.Join(state, "*", boxesDir))
	age := map[string]int64{}
	for _, dir := range all {
		if st, err := os.Stat(dir); err == nil {
			age[dir] = st.ModTime().UnixNano()
		}
	}
	slices.SortStableFunc(all, func(a, b string) int { return cmp.Compare(age[b], age[a]) })
	return all
}

// anyLives reports whether a peer that writes in a folder still runs.
func anyLives(dir string) bool {
	boxes, _, _, _ := blackbox.ReadFolder(dir)
	return slices.ContainsFunc(boxes, func(r blackbox.Recording) bool { return lives(r.Header) })
}

// lives reports whether the process that a box belongs to runs on this host.
func lives(h blackbox.Header) bool {
	start, state, ok := blackbox.StartOf(h.PID)
	return ok && h.Boot == blackbox.Boot() && start == h.Start && state != "Z" && state != "X"
}
