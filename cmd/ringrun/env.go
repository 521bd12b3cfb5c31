package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
)

// env is what a worker reads with elastic.FromEnv, but for the address to bind,
// which its agent chooses.
func (j *job) env(p *peer) []string {
	o := j.opts
	expect := o.n
	switch {
	case p.heir:
		expect = 1
	case o.step != nil:
		expect = o.step.size
	case len(o.join) > 0:
		expect = 1 // newcomers wait for nobody, and have begun nothing
	}
	own := append(j.place(p), o.checkpoint.env()...)
	if o.maxN > 0 {
		own = append(own, "RINGRUN_MAX_N="+strconv.Itoa(o.maxN))
	}
	own = append(own, j.watchEnv(p.slot)...)
	return append(own,
		"RINGRUN_ID="+p.id,
		"RINGRUN_RUN="+j.cred.run(),
		"RINGRUN_SECRET="+hex.EncodeToString(j.cred.secret),
		"RINGRUN_EXPECT="+strconv.Itoa(expect),
		"RINGRUN_MIN_N="+strconv.Itoa(o.minN),
		"RINGRUN_ELASTIC_TIMEOUT="+o.minWait.String(),
		"RINGRUN_TRANSPORT="+o.transport,
		"RINGRUN_TLS="+o.tls,
		"RINGRUN_CODEC="+o.codec,
		"RINGRUN_SILENCE="+o.silence.String(),
		"RINGRUN_GRACE="+(o.grace-o.grace/10).String(), // before we kill
		"RINGRUN_BATCH_POLICY="+o.batch,
		"RINGRUN_ON_DIVERGENCE="+o.diverged,
		"RINGRUN_AUDIT="+j.audit.name,
		"RINGRUN_LOG="+o.log,
		"RINGRUN_LOG_FORMAT="+o.logFormat,
		"RINGRUN_TRACE="+strconv.FormatBool(o.trace.file != ""),
		"RINGRUN_ON_PARTITION="+o.partition,
	)
}

// place is where the worker stands among those that begin together, in the words
// of other launchers, for programs that ask. Newcomers have no such place.
func (j *job) place(p *peer) []string {
	rank, size := slices.Index(j.peers, p), j.opts.n
	switch {
	case p.heir:
		return []string{"LOCAL_RANK=" + strconv.Itoa(p.slot.local)}
	case j.opts.step != nil:
		rank, size = j.opts.step.rank, j.opts.step.size
	case len(j.opts.join) > 0:
		return nil
	}
	return []string{
		"RANK=" + strconv.Itoa(rank), "WORLD_SIZE=" + strconv.Itoa(size), "LOCAL_RANK=" + strconv.Itoa(p.slot.local),
	}
}

// localRank counts the workers of the same host that come before.
func (j *job) localRank(worker int) int {
	if j.opts.step != nil {
		rank, _ := strconv.Atoi(os.Getenv("SLURM_LOCALID"))
		return rank
	}
	return worker - slices.Index(j.opts.place, j.opts.place[worker])
}

func (j *job) peerID(worker int) string {
	heir := worker >= j.opts.n
	if s := j.opts.step; s != nil && !heir {
		return peerID(s.rank, s.size, false)
	}
	return peerID(worker, j.opts.n, heir || len(j.opts.join) > 0)
}

// peerID begins with the number of the worker, so that the IDs of one run sort
// by it. Those of newcomers are longer: the group may have a peer of that number
// already.
func peerID(i, n int, newcomer bool) string {
	random := make([]byte, 2)
	if newcomer {
		random = make([]byte, 4)
	}
	rand.Read(random) // never fails: see its documentation
	return fmt.Sprintf("p%0*d-%x", len(strconv.Itoa(n-1)), i, random)
}

func hostsOf(addrs []string) []string {
	var hosts []string
	for _, a := range addrs {
		if h, _, err := net.SplitHostPort(a); err == nil {
			hosts = append(hosts, h)
		}
	}
	return hosts
}
