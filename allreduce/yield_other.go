//go:build !linux

package allreduce

import "runtime"

func yield() { runtime.Gosched() }
