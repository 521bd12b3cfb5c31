package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ringrun/ringrun/bench/plan"
)

// parseCount reads a number such as 25M; K is 1000.
func parseCount(s string) (int, error) {
	x, err := parseUnit(s, map[string]float64{"K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "": 1})
	if err != nil || x < 1 || x > 1e13 {
		return 0, fmt.Errorf("%q is not a number such as 25M", s)
	}
	return int(x), nil
}

// parseBytes reads a size such as 256K; K is 1024.
func parseBytes(s string) (int, error) {
	x, err := parseUnit(s, map[string]float64{"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "": 1})
	if err != nil || x < 1 || x > 1<<40 {
		return 0, fmt.Errorf("%q is not a size such as 256K", s)
	}
	return int(x), nil
}

// parseBandwidth returns bytes of payload a second: 1Gbit is a line rate, 118MB is
// what arrives.
func parseBandwidth(s string) (float64, error) {
	if rate, ok := strings.CutSuffix(strings.ToLower(s), "bps"); ok {
		s = rate + "bit"
	}
	x, err := parseUnit(strings.TrimSuffix(s, "/s"), map[string]float64{
		"KBIT": 1e3 / 8 * payload, "MBIT": 1e6 / 8 * payload, "GBIT": 1e9 / 8 * payload, "KB": 1e3, "MB": 1e6, "GB": 1e9,
	})
	if err != nil || !(x >= 1) || x > 1e15 {
		return 0, fmt.Errorf("%q is not a bandwidth such as 100Mbit, 1Gbit or 118MB", s)
	}
	return x, nil
}

func parseUnit(s string, units map[string]float64) (float64, error) {
	s = strings.ToUpper(strings.TrimSpace(s))
	end := strings.LastIndexAny(s, "0123456789.") + 1
	unit, ok := units[strings.TrimSpace(s[end:])]
	x, err := strconv.ParseFloat(s[:end], 64)
	if err != nil || !ok {
		return 0, strconv.ErrSyntax
	}
	return x * unit, nil
}

// slowestLink returns what ringrun doctor -json has measured, of the worst pair of
// hosts: a ring is as fast as its slowest link.
func slowestLink(file string) (plan.Link, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return plan.Link{}, fmt.Errorf("-links: %w", err)
	}
	var found struct {
		Pairs []struct {
			From, To string
			Ways     []struct {
				RTT       time.Duration `json:"rtt_ns"`
				Bandwidth float64       `json:"bandwidth"`
			}
		}
	}
	if err := json.Unmarshal(text, &found); err != nil {
		return plan.Link{}, fmt.Errorf("-links %s: want what ringrun doctor -json prints: %w", file, err)
	}
	var l plan.Link
	for _, p := range found.Pairs {
		if len(p.Ways) == 0 || p.Ways[0].Bandwidth <= 0 {
			continue
		}
		w := p.Ways[0]
		if l.Bandwidth == 0 || w.Bandwidth < l.Bandwidth {
			l.Bandwidth = w.Bandwidth
		}
		l.Latency = max(l.Latency, w.RTT/2+hopWork)
	}
	if l.Bandwidth == 0 {
		return l, fmt.Errorf("-links %s: no pair of hosts was measured in it: ringrun doctor -H a,b -json", file)
	}
	return l, nil
}
