package bridge

import (
	"fmt"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/elastic"
)

// A checked is what a Bridge needs of a group that compares what its peers hold.
type checked interface{ SetCheck(elastic.Check) }

// compare lets the group compare the means of every step, bucket by bucket, and
// now and then the parameters.
func (b *Bridge) compare(g group) {
	if g, ok := g.(checked); ok {
		g.SetCheck(elastic.Check{Reduced: b.reducedSums, State: b.paramSums})
	}
}

// reducedSums returns the hashes of what has just been reduced. A peer that is
// alone reduces nothing.
func (b *Bridge) reducedSums() []elastic.Sum {
	if b.flight.comm == nil || b.flight.comm.Size() == 1 {
		return nil
	}
	sums := b.sums[:0]
	for k, bucket := range b.buckets {
		sums = append(sums, elastic.Sum{Part: b.bucketName(k), Hash: b.means().bucket(bucket).vector().Hash()})
	}
	b.sums = append(sums, elastic.Sum{Part: "averages and scalars", Hash: allreduce.Of(b.tail.values).Hash()})
	return b.sums
}

// bucketName names a bucket by what is in it. The names are made when it is cut
// anew.
func (b *Bridge) bucketName(k int) string {
	if k == 0 && (b.namedBy != b.cutBy || len(b.bucketNames) != len(b.buckets)) {
		b.namedBy, b.bucketNames = b.cutBy, b.bucketNames[:0]
		for i, bucket := range b.buckets {
			name := fmt.Sprintf("bucket %d (gradient of %s)", i, b.params[bucket.parts[0].param].name)
			if n := len(bucket.parts); n > 1 {
				name = fmt.Sprintf("bucket %d (gradients of %s…%s)", i, b.params[bucket.parts[0].param].name, b.params[bucket.parts[n-1].param].name)
			}
			b.bucketNames = append(b.bucketNames, name)
		}
	}
	return b.bucketNames[k]
}

// paramSums returns the hashes of the parameters.
func (b *Bridge) paramSums() []elastic.Sum {
	var sums []elastic.Sum
	for _, p := range b.all() {
		if _, a, err := p.value(); err == nil { // else the next step fails
			sums = append(sums, elastic.Sum{Part: fmt.Sprintf("parameter %q", p.name), Hash: a.vector().Hash()})
		}
	}
	return sums
}
