//go:build !noasm

#include "textflag.h"

// func pause(n int)
TEXT ·pause(SB), NOSPLIT, $0-8
	MOVQ n+0(FP), CX
again:
	PAUSE
	DECQ CX
	JG   again
	RET

// func spin(word *atomic.Uint64, value uint64, n int) uint64
TEXT ·spin(SB), NOSPLIT, $0-32
	MOVQ word+0(FP), DI
	MOVQ value+8(FP), SI
	MOVQ n+16(FP), CX
look:
	MOVQ (DI), AX
	CMPQ AX, SI
	JAE  reached
	PAUSE
	DECQ CX
	JG   look
reached:
	MOVQ AX, ret+24(FP)
	RET
