//go:build !noasm

#include "textflag.h"

// Each function does n elements, a multiple of 8, as its twin in kernel.go or norm.go does:
// the same operations in the same order, none of them fused. In the loops DX
// counts bytes up to CX. The offsets are those of coef[float32].

// The gradient in Y11 = clamp(g·scale) + l2·w; w in Y12. Uses Y0 to Y3, Y13.
#define GRADIENT \
	VMULPS  (SI)(DX*1), Y0, Y11; \
	VMINPS  Y1, Y11, Y11; \
	VMAXPS  Y2, Y11, Y11; \
	VMOVUPS (DI)(DX*1), Y12; \
	VMULPS  Y12, Y3, Y13; \
	VADDPS  Y13, Y11, Y11

// The mean square in Y15, of gradients in Y11. Uses Y8, Y9, Y14.
#define SQUARE \
	VMULPS  (R9)(DX*1), Y8, Y15; \
	VMULPS  Y9, Y11, Y14; \
	VMULPS  Y11, Y14, Y14; \
	VADDPS  Y14, Y15, Y15; \
	VMOVUPS Y15, (R9)(DX*1)

// Y13 = rate·mean/(√Y15 + eps). Uses Y4, Y6, Y7, Y10, Y14, Y15.
#define MEAN \
	VSQRTPS Y15, Y15; \
	VADDPS  Y10, Y15, Y15; \
	VMULPS  (R8)(DX*1), Y6, Y13; \
	VMULPS  Y7, Y11, Y14; \
	VADDPS  Y14, Y13, Y13; \
	VMOVUPS Y13, (R8)(DX*1); \
	VMULPS  Y4, Y13, Y13; \
	VDIVPS  Y15, Y13, Y13

// w = keep·w - Y13. Uses Y5.
#define MOVE \
	VMULPS  Y5, Y12, Y12; \
	VSUBPS  Y13, Y12, Y12; \
	VMOVUPS Y12, (DI)(DX*1)

// Y0 scale, Y1 clip, Y2 -clip, Y3 l2, Y4 rate, Y5 keep.
#define COMMON \
	SHLQ         $2, CX; \
	XORQ         DX, DX; \
	VBROADCASTSS 0(AX), Y0; \
	VBROADCASTSS 4(AX), Y1; \
	VPCMPEQD     Y2, Y2, Y2; \
	VPSLLD       $31, Y2, Y2; \
	VXORPS       Y1, Y2, Y2; \
	VBROADCASTSS 8(AX), Y3; \
	VBROADCASTSS 12(AX), Y4; \
	VBROADCASTSS 16(AX), Y5

// func sgdAVX2(w, grad *float32, n int, c *coef[float32])
TEXT ·sgdAVX2(SB), NOSPLIT, $0-32
	MOVQ w+0(FP), DI
	MOVQ grad+8(FP), SI
	MOVQ n+16(FP), CX
	MOVQ c+24(FP), AX
	COMMON

loop:
	GRADIENT
	VMULPS Y4, Y11, Y13
	MOVE
	ADDQ   $32, DX
	CMPQ   DX, CX
	JB     loop
	VZEROUPPER
	RET

// func momentumAVX2(w, grad, v *float32, n int, c *coef[float32])
TEXT ·momentumAVX2(SB), NOSPLIT, $0-40
	MOVQ         w+0(FP), DI
	MOVQ         grad+8(FP), SI
	MOVQ         v+16(FP), R8
	MOVQ         n+24(FP), CX
	MOVQ         c+32(FP), AX
	COMMON
	VBROADCASTSS 20(AX), Y6 // beta1

loop:
	GRADIENT
	VMULPS  (R8)(DX*1), Y6, Y13
	VADDPS  Y11, Y13, Y13
	VMOVUPS Y13, (R8)(DX*1)
	VMULPS  Y4, Y13, Y13
	MOVE
	ADDQ    $32, DX
	CMPQ    DX, CX
	JB      loop
	VZEROUPPER
	RET

// func nesterovAVX2(w, grad, v *float32, n int, c *coef[float32])
TEXT ·nesterovAVX2(SB), NOSPLIT, $0-40
	MOVQ         w+0(FP), DI
	MOVQ         grad+8(FP), SI
	MOVQ         v+16(FP), R8
	MOVQ         n+24(FP), CX
	MOVQ         c+32(FP), AX
	COMMON
	VBROADCASTSS 20(AX), Y6 // beta1

loop:
	GRADIENT
	VMULPS  (R8)(DX*1), Y6, Y13
	VADDPS  Y11, Y13, Y13
	VMOVUPS Y13, (R8)(DX*1)
	VMULPS  Y6, Y13, Y13
	VADDPS  Y11, Y13, Y13
	VMULPS  Y4, Y13, Y13
	MOVE
	ADDQ    $32, DX
	CMPQ    DX, CX
	JB      loop
	VZEROUPPER
	RET

// func rmspropAVX2(w, grad, v *float32, n int, c *coef[float32])
TEXT ·rmspropAVX2(SB), NOSPLIT, $0-40
	MOVQ         w+0(FP), DI
	MOVQ         grad+8(FP), SI
	MOVQ         v+16(FP), R9
	MOVQ         n+24(FP), CX
	MOVQ         c+32(FP), AX
	COMMON
	VBROADCASTSS 28(AX), Y8  // beta2
	VBROADCASTSS 32(AX), Y9  // new2
	VBROADCASTSS 36(AX), Y10 // eps

loop:
	GRADIENT
	SQUARE
	VADDPS  Y10, Y15, Y15
	VSQRTPS Y15, Y15
	VMULPS  Y4, Y11, Y13
	VDIVPS  Y15, Y13, Y13
	MOVE
	ADDQ    $32, DX
	CMPQ    DX, CX
	JB      loop
	VZEROUPPER
	RET

// func adamAVX2(w, grad, m, v *float32, n int, c *coef[float32])
TEXT ·adamAVX2(SB), NOSPLIT, $0-48
	MOVQ         w+0(FP), DI
	MOVQ         grad+8(FP), SI
	MOVQ         m+16(FP), R8
	MOVQ         v+24(FP), R9
	MOVQ         n+32(FP), CX
	MOVQ         c+40(FP), AX
	COMMON
	VBROADCASTSS 20(AX), Y6  // beta1
	VBROADCASTSS 24(AX), Y7  // new1
	VBROADCASTSS 28(AX), Y8  // beta2
	VBROADCASTSS 32(AX), Y9  // new2
	VBROADCASTSS 36(AX), Y10 // eps

loop:
	GRADIENT
	SQUARE
	MEAN
	MOVE
	ADDQ $32, DX
	CMPQ DX, CX
	JB   loop
	VZEROUPPER
	RET

// func lambAVX2(u, w, grad, m, v *float32, n int, c *coef[float32])
TEXT ·lambAVX2(SB), NOSPLIT, $0-56
	MOVQ         u+0(FP), R10
	MOVQ         w+8(FP), DI
	MOVQ         grad+16(FP), SI
	MOVQ         m+24(FP), R8
	MOVQ         v+32(FP), R9
	MOVQ         n+40(FP), CX
	MOVQ         c+48(FP), AX
	COMMON
	VBROADCASTSS 20(AX), Y6  // beta1
	VBROADCASTSS 24(AX), Y7  // new1
	VBROADCASTSS 28(AX), Y8  // beta2
	VBROADCASTSS 32(AX), Y9  // new2
	VBROADCASTSS 36(AX), Y10 // eps

loop:
	GRADIENT
	SQUARE
	MEAN
	VMULPS  Y5, Y12, Y12
	VADDPS  Y12, Y13, Y13
	VMOVUPS Y13, (R10)(DX*1)
	ADDQ    $32, DX
	CMPQ    DX, CX
	JB      loop
	VZEROUPPER
	RET

// func squaresAVX2(x *float32, n int, lane *[8]float64)
TEXT ·squaresAVX2(SB), NOSPLIT, $0-24
	MOVQ   x+0(FP), SI
	MOVQ   n+8(FP), CX
	MOVQ   lane+16(FP), DI
	SHLQ   $2, CX
	XORQ   DX, DX
	VXORPD Y0, Y0, Y0
	VXORPD Y1, Y1, Y1

loop:
	VCVTPS2PD (SI)(DX*1), Y2
	VCVTPS2PD 16(SI)(DX*1), Y3
	VMULPD    Y2, Y2, Y2
	VMULPD    Y3, Y3, Y3
	VADDPD    Y2, Y0, Y0
	VADDPD    Y3, Y1, Y1
	ADDQ      $32, DX
	CMPQ      DX, CX
	JB        loop
	VMOVUPD   Y0, (DI)
	VMOVUPD   Y1, 32(DI)
	VZEROUPPER
	RET

// func usableAVX2(x *float32, n int) bool
TEXT ·usableAVX2(SB), NOSPLIT, $0-17
	MOVQ         x+0(FP), SI
	MOVQ         n+8(FP), CX
	SHLQ         $2, CX
	XORQ         DX, DX
	VPCMPEQD     Y0, Y0, Y0
	VPSRLD       $1, Y0, Y0 // all bits but the sign
	MOVL         $0x5f7fffff, AX // tooLarge32 - 1
	MOVQ         AX, X1
	VPBROADCASTD X1, Y1
	VPXOR        Y2, Y2, Y2

loop:
	VPAND    (SI)(DX*1), Y0, Y3
	VPCMPGTD Y1, Y3, Y3
	VPOR     Y3, Y2, Y2
	ADDQ     $32, DX
	CMPQ     DX, CX
	JB       loop
	VPTEST   Y2, Y2
	SETEQ    ret+16(FP)
	VZEROUPPER
	RET
