package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ringrun/ringrun/bench"
)

func TestKernels(t *testing.T) {
	args := []string{"kernels", "-sizes", "64K,1K", "-rounds", "1", "-min-time", "1us", "-only", "^add float32"}
	out, errs, status := ringbench(t, args...)
	if status != 0 || errs != "" {
		t.Fatalf("status %d, says %q", status, errs)
	}
	if !strings.Contains(out, "64K") || !strings.Contains(out, "\n add float32 ") || strings.Contains(out, "scale") {
		t.Errorf("the table is\n%s", out)
	}
	out, errs, status = ringbench(t, append(args, "-json")...)
	if status != 0 || errs != "" {
		t.Fatalf("status %d, says %q", status, errs)
	}
	var r bench.KernelResult
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&r); err != nil || r.Kernel != "copy" || r.Bytes != 1024 || r.GBps <= 0 {
		t.Errorf("the first object is %+v (%v), want a copy of 1K", r, err)
	}
}

func TestKernelsRefuses(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"-sizes 100", "-sizes:"},
		{"-sizes 0", "-sizes:"},
		{"-sizes 2G", "-sizes:"},
		{"-rounds 0", "-rounds:"},
		{"-min-time 0", "-min-time:"},
		{"-only (", "-only:"},
		{"add", `"add"`},
	} {
		_, errs, status := ringbench(t, append([]string{"kernels"}, strings.Fields(tt.args)...)...)
		if status != 1 || !strings.Contains(errs, tt.want) {
			t.Errorf("kernels %s: status %d, says %q, want %s", tt.args, status, errs, tt.want)
		}
	}
}
