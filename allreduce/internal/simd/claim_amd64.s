//go:build !noasm

#include "textflag.h"

// func claim(p *byte, n int)
TEXT ·claim(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), DI
	MOVQ n+8(FP), CX
again:
	BYTE $0x0F; BYTE $0x0D; BYTE $0x0F // PREFETCHW (DI)
	ADDQ $64, DI
	SUBQ $64, CX
	JG   again
	RET

// func overwrite(dst, src *byte, n int)
TEXT ·overwrite(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	REP; MOVSB
	RET
