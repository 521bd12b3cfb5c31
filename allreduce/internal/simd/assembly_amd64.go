//go:build !noasm

package simd

import "golang.org/x/sys/cpu"

// assembly returns the forms for the levels that the processor and the operating
// system support.
func assembly() []Set {
	x := cpu.X86
	var sets []Set
	if x.HasAVX2 && x.HasF16C {
		sets = append(sets, avx2())
	}
	if x.HasAVX2 && x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL {
		sets = append(sets, avx512())
	}
	return sets
}

func avx2() Set {
	// Vectors of 32 bytes. There is no product of int64.
	i64 := plain[int64]()
	i64.Add = pairs(4, addInt64AVX2, i64.Add)
	i64.Min = pairs(4, minInt64AVX2, i64.Min)
	i64.Max = pairs(4, maxInt64AVX2, i64.Max)
	i64.Sum = sums(4, sumInt64AVX2)
	return Set{
		Level: "avx2",
		Float32: loops[float32]{
			8, addFloat32AVX2, minFloat32AVX2, maxFloat32AVX2, mulFloat32AVX2,
			scaleFloat32AVX2, addScaleFloat32AVX2, sumFloat32AVX2, sumScaleFloat32AVX2,
		}.kernels(),
		Float64: loops[float64]{
			4, addFloat64AVX2, minFloat64AVX2, maxFloat64AVX2, mulFloat64AVX2,
			scaleFloat64AVX2, addScaleFloat64AVX2, sumFloat64AVX2, sumScaleFloat64AVX2,
		}.kernels(),
		Int32: loops[int32]{
			8, addInt32AVX2, minInt32AVX2, maxInt32AVX2, mulInt32AVX2,
			scaleInt32AVX2, addScaleInt32AVX2, sumInt32AVX2, sumScaleInt32AVX2,
		}.kernels(),
		Int64:               i64,
		HalfFromFloat32:     conversion(8, halfFromFloat32AVX2, halves),
		Float32FromHalf:     conversion(8, float32FromHalfAVX2, floats),
		BFloat16FromFloat32: conversion(8, bfloat16FromFloat32AVX2, bfloat16s),
		Float32FromBFloat16: conversion(8, float32FromBfloat16AVX2, floatsOfBFloat16),
		MaxAbs:              greatest(8, maxAbsAVX2),
		Quantise:            quantiser{blockMaxima(maxAbsAVX2), rounding(quantiseAVX2)}.quantise,
		Dequantise:          dequantising(dequantiseAVX2, dequantise),
		DequantiseAdd:       dequantising(dequantiseAddAVX2, dequantiseAdd),
		Stream:              streaming(streamAVX2),
	}
}

func avx512() Set {
	// Vectors of 64 bytes.
	return Set{
		Level: "avx512",
		Float32: loops[float32]{
			16, addFloat32AVX512, minFloat32AVX512, maxFloat32AVX512, mulFloat32AVX512,
			scaleFloat32AVX512, addScaleFloat32AVX512, sumFloat32AVX512, sumScaleFloat32AVX512,
		}.kernels(),
		Float64: loops[float64]{
			8, addFloat64AVX512, minFloat64AVX512, maxFloat64AVX512, mulFloat64AVX512,
			scaleFloat64AVX512, addScaleFloat64AVX512, sumFloat64AVX512, sumScaleFloat64AVX512,
		}.kernels(),
		Int32: loops[int32]{
			16, addInt32AVX512, minInt32AVX512, maxInt32AVX512, mulInt32AVX512,
			scaleInt32AVX512, addScaleInt32AVX512, sumInt32AVX512, sumScaleInt32AVX512,
		}.kernels(),
		Int64: loops[int64]{
			8, addInt64AVX512, minInt64AVX512, maxInt64AVX512, mulInt64AVX512,
			scaleInt64AVX512, addScaleInt64AVX512, sumInt64AVX512, sumScaleInt64AVX512,
		}.kernels(),
		HalfFromFloat32:     conversion(16, halfFromFloat32AVX512, halves),
		Float32FromHalf:     conversion(16, float32FromHalfAVX512, floats),
		BFloat16FromFloat32: conversion(16, bfloat16FromFloat32AVX512, bfloat16s),
		Float32FromBFloat16: conversion(16, float32FromBfloat16AVX512, floatsOfBFloat16),
		MaxAbs:              greatest(16, maxAbsAVX512),
		Quantise:            quantiser{blockMaxima(maxAbsAVX512), rounding(quantiseAVX512)}.quantise,
		Dequantise:          dequantising(dequantiseAVX512, dequantise),
		DequantiseAdd:       dequantising(dequantiseAddAVX512, dequantiseAdd),
		Stream:              streaming(streamAVX512),
	}
}
