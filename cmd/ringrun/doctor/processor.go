package doctor

import (
	"runtime"

	"golang.org/x/sys/cpu"
)

// processor lists what the processor has of what the kernels use, and what it
// lacks of it so that they fall back to slower ones.
func processor() (has, lacks []string) {
	note := func(name string, there, needed bool) {
		switch {
		case there:
			has = append(has, name)
		case needed:
			lacks = append(lacks, name)
		}
	}
	switch runtime.GOARCH {
	case "amd64":
		note("AVX2", cpu.X86.HasAVX2, true)
		note("FMA", cpu.X86.HasFMA, true)
		note("F16C", cpu.X86.HasF16C, true)
		note("AVX-512", cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL, false)
	case "arm64":
		note("NEON", cpu.ARM64.HasASIMD || runtime.GOOS == "darwin", true)
		note("FP16", cpu.ARM64.HasFPHP && cpu.ARM64.HasASIMDHP, false)
	}
	if runtime.GOARCH != "amd64" {
		lacks = append(lacks, "our kernels in assembly, which are for amd64")
	}
	return has, lacks
}
