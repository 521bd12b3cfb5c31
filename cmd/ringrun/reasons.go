package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ringrun/ringrun/cmd/ringrun/doctor"
)

// pointToDoctor adds to an error of a start on other hosts who looks closer.
func pointToDoctor(err error, hosts []host) error {
	var sig interrupted
	if how := doctorCall(hosts); how != "" && !errors.As(err, &sig) {
		return fmt.Errorf("%w (%s looks closer)", err, how)
	}
	return err
}

// doctorCall is the command that examines these hosts, or nothing if they are no
// others than this one.
func doctorCall(hosts []host) string {
	var names []string
	others := false
	for _, h := range hosts {
		name := h.name
		if strings.Contains(name, ":") {
			user, addr := "", name
			if i := strings.LastIndex(name, "@"); i >= 0 {
				user, addr = name[:i+1], name[i+1:]
			}
			name = user + "[" + addr + "]"
		}
		names = append(names, name)
		others = others || !h.local
	}
	if !others {
		return ""
	}
	return "ringrun doctor -H " + strings.Join(names, ",")
}

// noAnswer is why a host that ssh may have reached is given up.
func noAnswer(h host) error {
	return &doctor.Trouble{
		Said:   fmt.Sprintf("no answer within %v", reachWait),
		Cause:  "ssh waits for something: a firewall that drops packets, a login script, or a home folder on a disk that hangs",
		Remedy: "ssh -v " + h.name + " true tells where it stops",
	}
}
