// Package doctor finds out what would keep peers from training together on some
// hosts, or make them slow.
//
// A [Servant] on every host tells what is known there ([Facts]) and tries the
// ways to the others ([Probe]). What that means is for the pure part: [JudgeHost],
// [JudgeName], [JudgeClock] and [JudgePair] turn it into findings, each with its cause
// and what to do.
package doctor

import "fmt"

// A Status says how bad a finding is.
type Status string

const (
	OK   Status = "ok"
	Warn Status = "warn" // it works, but not well, or not always
	Fail Status = "fail" // it keeps a run from working
)

// A Finding is one thing that was looked at.
type Finding struct {
	Status Status `json:"status"`
	Host   string `json:"host"`
	To     string `json:"to,omitempty"` // the other host of a pair
	Check  string `json:"check"`
	Found  string `json:"found"`
	Cause  string `json:"cause,omitempty"`
	Remedy string `json:"remedy,omitempty"`
}

// Where names the host, or the pair of hosts.
func (f Finding) Where() string {
	if f.To == "" {
		return f.Host
	}
	return f.Host + " → " + f.To
}

// Sick reports whether anything keeps a run from working.
func Sick(findings []Finding) bool {
	for _, f := range findings {
		if f.Status == Fail {
			return true
		}
	}
	return false
}

// A Trouble is an error that says what to do.
type Trouble struct {
	Said   string // by the system, ssh, …; may be empty
	Cause  string
	Remedy string
}

func (t *Trouble) Error() string {
	if t.Said == "" {
		return t.Cause + "; " + t.Remedy
	}
	return t.Said + ": " + t.Cause + "; " + t.Remedy
}

// A page collects findings about one host or pair.
type page struct {
	host, to string
	findings []Finding
}

func (p *page) add(s Status, check, cause, remedy, format string, args ...any) {
	p.findings = append(p.findings, Finding{
		Status: s, Host: p.host, To: p.to, Check: check, Found: fmt.Sprintf(format, args...), Cause: cause, Remedy: remedy,
	})
}

func (p *page) ok(check, format string, args ...any) { p.add(OK, check, "", "", format, args...) }
