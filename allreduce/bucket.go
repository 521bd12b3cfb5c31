package allreduce

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
)

// Spec describes one tensor of a plan.
type Spec struct {
	Name string
	Type Type
	Len  int
}

// Plan says which tensors travel together. It is a function of its arguments,
// so that all peers make the same one.
type Plan struct {
	buckets []*Bucket
	hash    uint64
}

// NewPlan puts tensors that follow each other into buckets: of one type, and of
// at most bucketBytes unless one tensor alone is larger. The first bucket has at
// most firstBytes: where gradients are reduced while others are still being
// computed, the earlier the first is on its way the better.
func NewPlan(specs []Spec, firstBytes, bucketBytes int) (*Plan, error) {
	if err := checkSpecs(specs); err != nil {
		return nil, err
	}
	p := &Plan{}
	limit := firstBytes
	var b *Bucket
	bytes := 0
	for i, s := range specs {
		size := s.Len * s.Type.Size()
		if b == nil || b.typ != s.Type || bytes+size > limit {
			if b != nil {
				limit = bucketBytes
			}
			b, bytes = &Bucket{typ: s.Type}, 0
			p.buckets = append(p.buckets, b)
		}
		b.add(i, s.Len)
		bytes += size
	}
	for _, b := range p.buckets {
		b.alloc()
	}
	p.hash = p.digest(specs)
	return p, nil
}

func checkSpecs(specs []Spec) error {
	seen := make(map[string]int)
	for i, s := range specs {
		if j, ok := seen[s.Name]; ok {
			return fmt.Errorf("allreduce: tensors %d and %d have the same name %q", j, i, s.Name)
		}
		seen[s.Name] = i
		if !s.Type.valid() {
			return fmt.Errorf("allreduce: tensor %q of %v", s.Name, s.Type)
		}
		if s.Len < 0 {
			return fmt.Errorf("allreduce: tensor %q has %d elements", s.Name, s.Len)
		}
	}
	return nil
}

// Hash is equal on two peers if their plans are: the same names, types and
// lengths in the same buckets.
func (p *Plan) Hash() uint64 { return p.hash }

// Buckets returns the buckets in the order of their tensors.
func (p *Plan) Buckets() []*Bucket { return p.buckets }

func (p *Plan) digest(specs []Spec) uint64 {
	h := fnv.New64a()
	word := func(n int) {
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(n)))
	}
	for _, b := range p.buckets {
		word(len(b.specs))
		for _, i := range b.specs {
			s := specs[i]
			word(len(s.Name))
			io.WriteString(h, s.Name)
			word(int(s.Type))
			word(s.Len)
		}
	}
	return h.Sum64()
}

// Bucket is one vector in which tensors travel together.
type Bucket struct {
	typ    Type
	specs  []int
	bounds []int // tensor specs[i] lies at bounds[i] to bounds[i+1]
	vector Vector
}

func (b *Bucket) add(spec, n int) {
	if len(b.bounds) == 0 {
		b.bounds = []int{0}
	}
	b.specs = append(b.specs, spec)
	b.bounds = append(b.bounds, b.bounds[len(b.bounds)-1]+n)
}

func (b *Bucket) alloc() {
	n := b.bounds[len(b.bounds)-1]
	b.vector = newVector(b.typ, n)
}

// Specs returns which of the plan's specs are in the bucket.
func (b *Bucket) Specs() []int { return b.specs }

// Vector returns the memory of the bucket, the same at every call.
func (b *Bucket) Vector() Vector { return b.vector }

// Pack copies the tensors into the bucket. It asks at for each by the index of
// its spec, and panics if that vector is not what the spec said.
func (b *Bucket) Pack(at func(i int) Vector) {
	b.each(at, func(mine, tensor []byte) { copy(mine, tensor) })
}

// Unpack copies the bucket's content back into the tensors.
func (b *Bucket) Unpack(at func(i int) Vector) {
	b.each(at, func(mine, tensor []byte) { copy(tensor, mine) })
}

func (b *Bucket) each(at func(i int) Vector, f func(mine, tensor []byte)) {
	for k, i := range b.specs {
		x, mine := at(i), b.vector.Slice(b.bounds[k], b.bounds[k+1])
		if x.typ != b.typ || x.len != mine.len {
			panic(fmt.Sprintf("allreduce: tensor %d is %d %v, its spec said %d %v", i, x.len, x.typ, mine.len, b.typ))
		}
		f(mine.Bytes(), x.Bytes())
	}
}
