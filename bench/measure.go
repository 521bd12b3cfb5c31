package bench

import (
	"context"
	"time"
)

// measured is what the kept rounds add up to; times are this peer's own.
type measured struct {
	times          [][]time.Duration
	cpu, wall      float64 // seconds: of all peers; as rank 0 saw it
	foreign, steal float64
}

func (m *measured) add(r measured) {
	m.times = append(m.times, r.times...)
	m.cpu += r.cpu
	m.wall += r.wall
	m.foreign += r.foreign
	m.steal += r.steal
}

// round measures one round of f on all peers. All see the same figures, rank
// 0's, but for times.
func round(ctx context.Context, c Comm, f func() ([]time.Duration, error)) (measured, error) {
	if _, err := exchange(ctx, c); err != nil { // nobody starts before all are here
		return measured{}, err
	}
	busy, steal := machineSeconds()
	cpu, start := processSeconds(), time.Now()
	times, err := f()
	if err != nil {
		return measured{}, err
	}
	wall := time.Since(start).Seconds()
	table, err := exchange(ctx, c, processSeconds()-cpu)
	if err != nil {
		return measured{}, err
	}
	m := measured{times: [][]time.Duration{times}, cpu: column(table, 0), wall: wall}
	busyNow, stealNow := machineSeconds()
	table, err = exchange(ctx, c, m.wall, max(0, busyNow-busy-m.cpu), stealNow-steal)
	if err != nil {
		return measured{}, err
	}
	m.wall, m.foreign, m.steal = table[0][0], table[0][1], table[0][2]
	return m, nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Label names us in a result: the transport, and the codec if it does anything.
func Label(transport, codec string) string {
	if codec == "" || codec == "raw" {
		return "ringrun-" + transport
	}
	return "ringrun-" + transport + "-" + codec
}

func rate(gb float64, d time.Duration) float64 { return share(gb, d.Seconds()) }

// share is a/b, and 0 where there is no b: JSON knows no infinity.
func share(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
