package simd

// The loops are written so that the compiler drops the bounds checks. They then
// store one element a cycle; blocks of four or eight are no faster.

func add[T Number](dst, src []T) {
	src = src[:len(dst)]
	for i := range dst {
		dst[i] = src[i] + dst[i]
	}
}

func mul[T Number](dst, src []T) {
	src = src[:len(dst)]
	for i := range dst {
		dst[i] = src[i] * dst[i]
	}
}

// minimum and maximum pass NaN on, as the builtins do.

func minimum[T Number](dst, src []T) {
	src = src[:len(dst)]
	for i := range dst {
		dst[i] = min(src[i], dst[i])
	}
}

func maximum[T Number](dst, src []T) {
	src = src[:len(dst)]
	for i := range dst {
		dst[i] = max(src[i], dst[i])
	}
}

func scale[T Number](dst []T, by T) {
	for i := range dst {
		dst[i] *= by
	}
}
