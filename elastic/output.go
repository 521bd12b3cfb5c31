package elastic

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// OutputEnv names the variable that says in which file a launcher keeps what this
// process writes.
const OutputEnv = "RINGRUN_OUTPUT"

const (
	outputTail  = 64 << 10               // how much of it is shown at once
	outputCheck = 200 * time.Millisecond // for more: a file tells nobody
)

// output serves the end of the file in which the output of this process is kept,
// and with ?follow=1 what is added to it.
func output(w http.ResponseWriter, r *http.Request) {
	name := os.Getenv(OutputEnv)
	if name == "" {
		http.Error(w, "the output of this peer is not kept: start it with -output or -detach", http.StatusNotFound)
		return
	}
	at, err := outputStart(name)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	check := time.NewTicker(outputCheck)
	defer check.Stop()
	flow := http.NewResponseController(w)
	for {
		if at, err = outputFrom(w, name, at); err != nil || r.FormValue("follow") == "" {
			return
		}
		if flow.Flush() != nil {
			return
		}
		select {
		case <-check.C:
		case <-r.Context().Done():
			return
		}
	}
}

// outputStart returns where the last lines begin.
func outputStart(name string) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() <= outputTail {
		return 0, err
	}
	at := st.Size() - outputTail
	tail := make([]byte, outputTail)
	n, err := f.ReadAt(tail, at)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	for i, b := range tail[:n] {
		if b == '\n' {
			return at + int64(i) + 1, nil
		}
	}
	return at, nil
}

// outputFrom copies what the file holds from a position on. A file that is
// shorter is a new one.
func outputFrom(w io.Writer, name string, at int64) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return at, err
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() < at {
		at = 0
	}
	if _, err := f.Seek(at, io.SeekStart); err != nil {
		return at, err
	}
	n, err := io.Copy(w, f)
	return at + n, err
}

// end asks this process to end as a launcher does: by SIGTERM, or by SIGKILL.
func (in *inspector) end(w http.ResponseWriter, r *http.Request) {
	if g := in.group.Load(); g != nil {
		g.report.ending(g.id())
	}
	if err := endSelf(r.FormValue("kill") != ""); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
