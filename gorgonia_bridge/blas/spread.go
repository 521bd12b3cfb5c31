package blas

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// A workspace is the memory that one thread computes in.
type workspace struct {
	a    [down * depth]float32
	b    [across * depth]float32
	tile [14 * 32]float32 // the largest tile
}

var workspaces = sync.Pool{New: func() any { return new(workspace) }}

func (p *product) computeHere() {
	w := workspaces.Get().(*workspace)
	defer workspaces.Put(w)
	p.compute(w)
}

// worthwhile is how many multiplications a further thread should have: several
// times as many as it could do while it is woken.
const worthwhile = 1 << 19

// helping is how many goroutines work for others. All products together keep it
// below GOMAXPROCS.
var helping atomic.Int64

// engage reserves up to n helpers, and returns how many it got.
func engage(n int) int {
	free := int64(runtime.GOMAXPROCS(0)) - 1
	for n > 0 {
		busy := helping.Load()
		n = min(n, int(free-busy))
		if n > 0 && helping.CompareAndSwap(busy, busy+int64(n)) {
			return n
		}
	}
	return 0
}

// A team is a product cut into parts, one for each thread. It is pooled, so that
// a product leaves no garbage.
type team struct {
	parts   []*part
	waiting sync.WaitGroup
}

type part struct {
	product
	start func() // run, as a value made once
	team  *team
}

var teams = sync.Pool{New: func() any { return new(team) }}

// spread computes the product on as many threads as it is worth. Every thread
// does all the work for its own rows and columns of C; that elements of C do not
// depend on the others makes the result the same for any number of threads.
func (p *product) spread() {
	helpers := 0
	if more := p.m * p.n * p.k / worthwhile; more > 0 {
		helpers = engage(more)
	}
	if helpers == 0 {
		p.computeHere()
		return
	}
	defer helping.Add(int64(-helpers))
	t := teams.Get().(*team)
	n := t.cut(p, helpers+1)
	t.waiting.Add(n - 1)
	for _, part := range t.parts[1:n] {
		go part.start()
	}
	t.parts[0].computeHere()
	t.waiting.Wait()
	t.release(n)
}

func (p *part) run() {
	defer p.team.waiting.Done()
	p.computeHere()
}

// cut divides the product among so many threads or fewer, along tiles, and so
// that they pack as little as possible. It returns the number of parts.
func (t *team) cut(p *product, threads int) int {
	down, across := p.grid(threads)
	n := 0
	for i := range down {
		top, bottom := share(p.m, p.kern.left.width, down, i)
		for j := range across {
			left, end := share(p.n, p.kern.right.width, across, j)
			if top == bottom || left == end {
				continue
			}
			if n == len(t.parts) {
				part := &part{team: t}
				part.start = part.run
				t.parts = append(t.parts, part)
			}
			q := &t.parts[n].product
			*q = *p
			q.m, q.n = bottom-top, end-left
			q.a, q.b, q.c = p.a.from(top, 0), p.b.from(0, left), p.c.from(top, left)
			n++
		}
	}
	return n
}

// grid chooses how many parts lie below, and how many beside each other.
func (p *product) grid(threads int) (int, int) {
	down, least := 1, p.m+p.n/threads
	for i := 2; i <= threads; i++ {
		if packed := p.m/i + p.n/(threads/i); threads%i == 0 && packed < least {
			down, least = i, packed
		}
	}
	return down, threads / down
}

// share returns the bounds of part i of n elements in whole units.
func share(n, unit, parts, i int) (lo, hi int) {
	units := (n + unit - 1) / unit
	return min(units*i/parts*unit, n), min(units*(i+1)/parts*unit, n)
}

// release forgets the matrices, so that the pool does not keep them.
func (t *team) release(n int) {
	for _, part := range t.parts[:n] {
		part.product = product{}
	}
	teams.Put(t)
}
