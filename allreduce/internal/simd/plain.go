package simd

// The loops are written so that the compiler drops the bounds checks. They then
// store one element a cycle; blocks of four or eight are no faster.
//
// Where a product is added to something, it is converted to its own type first:
// without that a compiler may fuse the two, as it does for arm64, and then
// rounds only once.

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

func addScale[T Number](dst, src []T, by T) {
	src = src[:len(dst)]
	for i := range dst {
		dst[i] = (src[i] + dst[i]) * by
	}
}

// sumLen is how many elements of a sum are made at a time: they stay in the
// first cache. Up to sumFew are made one by one, without memory that would have to
// be cleared first: what is left by an assembly loop, and small vectors.
const (
	sumLen = 512
	sumFew = 32
)

// sum adds up the elements from lo on.
func sum[T Number](dsts, srcs [][]T, lo int) {
	if len(dsts[0])-lo > sumFew {
		sumMany(dsts, srcs, lo)
		return
	}
	for i := lo; i < len(dsts[0]); i++ {
		x := sumOne(srcs, i)
		for _, d := range dsts {
			d[i] = x
		}
	}
}

// sumScale is sum, and then times by.
func sumScale[T Number](dsts, srcs [][]T, by T, lo int) {
	if len(dsts[0])-lo > sumFew {
		sumScaleMany(dsts, srcs, by, lo)
		return
	}
	for i := lo; i < len(dsts[0]); i++ {
		x := sumOne(srcs, i) * by
		for _, d := range dsts {
			d[i] = x
		}
	}
}

func sumOne[T Number](srcs [][]T, i int) T {
	x := srcs[0][i]
	for _, s := range srcs[1:] {
		x += s[i]
	}
	return x
}

//go:noinline
func sumMany[T Number](dsts, srcs [][]T, lo int) {
	var part [sumLen]T
	for n := len(dsts[0]); lo < n; lo += sumLen {
		hi := min(lo+sumLen, n)
		store(dsts, sumPart(part[:hi-lo], srcs, lo, hi), lo, hi)
	}
}

//go:noinline
func sumScaleMany[T Number](dsts, srcs [][]T, by T, lo int) {
	var part [sumLen]T
	for n := len(dsts[0]); lo < n; lo += sumLen {
		hi := min(lo+sumLen, n)
		p := sumPart(part[:hi-lo], srcs, lo, hi)
		scale(p, by)
		store(dsts, p, lo, hi)
	}
}

// sumPart returns the sum of elements lo to hi, made in part.
func sumPart[T Number](part []T, srcs [][]T, lo, hi int) []T {
	copy(part, srcs[0][lo:hi])
	for _, s := range srcs[1:] {
		s = s[lo:hi][:len(part)]
		for i := range part {
			part[i] += s[i]
		}
	}
	return part
}

func store[T Number](dsts [][]T, part []T, lo, hi int) {
	for _, d := range dsts {
		copy(d[lo:hi], part)
	}
}
