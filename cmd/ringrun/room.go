package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ringrun/ringrun/cmd/ringrun/doctor"
)

// spareBytes is what a disk must have left after a copy.
const spareBytes = 1 << 20

// A diskFullError says that a parcel does not fit.
type diskFullError struct {
	dir        string
	free, want int64  // free is -1 if it is not known
	why        string // then
}

func (e *diskFullError) Error() string {
	if e.free < 0 {
		return e.why
	}
	return fmt.Sprintf("the disk with %s has %s left, and %s are needed", e.dir, megabytes(e.free), megabytes(e.want))
}

// diskFull reports whether a program says that it has no room.
func diskFull(text string) bool {
	text = strings.ToLower(text)
	return strings.Contains(text, "no space left") || strings.Contains(text, "quota exceeded")
}

// freeOf reads the last line of df -Pk: device, blocks, used, available, …
func freeOf(line string) (free int64, ok bool) {
	f := strings.Fields(line)
	for i, w := range f { // the name of a device may have spaces
		if strings.HasSuffix(w, "%") && i >= 3 {
			kilobytes, err := strconv.ParseInt(f[i-1], 10, 64)
			return kilobytes << 10, err == nil && kilobytes >= 0
		}
	}
	return 0, false
}

// withRemedy adds what helps to the error of a host that cannot take copies, if
// nobody has done so yet.
func withRemedy(host string, err error) error {
	var full *diskFullError
	var explained *doctor.Trouble
	switch {
	case errors.As(err, &explained):
		return err
	case errors.As(err, &full) && full.free >= 0:
		return fmt.Errorf("%w: make room there, or name a folder on another disk: -cache DIR", err)
	}
	if t := doctor.Explain(host, err.Error()); t != nil {
		return t
	}
	return err
}
