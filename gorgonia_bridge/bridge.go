// Package bridge lets an ordinary Gorgonia training loop run on a group of
// peers. The loop stays as it is; a few lines join it to the others:
//
//	b, err := bridge.Attach(g, params, bridge.Average("loss", &loss)) // new
//	vm := gorgonia.NewTapeMachine(graph, b.VM())                      // for BindDualValues(params...)
//	solver := b.Solver(gorgonia.NewAdamSolver())                      // wrapped
//	for shard, err := range g.Shards(ctx, samples) {                  // this peer's part
//		… let x and y have the rows of shard.Samples, and zeros in the rest …
//		vm.RunAll()
//		solver.Step(gorgonia.NodesToValueGrads(params))
//		vm.Reset()
//	}
//
// Step adds up the gradients of all passes and all peers, divides by the passes
// that went into them, and lets the inner solver apply the result. So a loss
// that is the mean over the rows of one pass yields the mean over the global
// batch, for any number of peers.
//
// With the option VM gradients travel while the tape machine still computes
// others. Without it, with or without BindDualValues, and with the Lisp machine,
// they travel when the pass is over. Dropout masks and batch statistics stay
// each peer's own.
package bridge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/elastic"
)

// A Bridge connects the parameters of one or several graphs with a group. It is
// an elastic.State: what it saves is the parameters and what the solver keeps
// between steps. Its methods are for the goroutine that trains.
type Bridge struct {
	group    group
	joined   *elastic.Group // by Join
	together func() error   // waits for the peers to start with
	params   []param        // trained
	frozen   []param
	metrics  []*metric
	grads    []gradient // one per parameter

	solver    gorgonia.Solver // the inner one; nil before Solver
	solverErr error           // why it cannot be used
	zeroes    bool            // it zeroes the gradients that it has used

	places     []stretch // of the tensors' gradients, in the order in which they come
	arenaBytes int
	arenas     [2]arena // nil until they are needed
	home       int      // which of them is home

	plan     plan // before anything is measured
	fixed    bool // and after
	cutBy    plan // the one in use
	next     plan // from the next step on, if not zero
	measured *allreduce.Comm
	buckets  []bucket

	// What the machine does while it runs, on a goroutine of its own.
	hook     sync.Mutex
	engine   *engine
	slots    map[*tensor.Dense]int // parameters by their slots
	modes    modes
	vmErr    error // why the machine cannot be used
	missing  []int // for each bucket, how many gradients have not come yet
	machines int   // made with VM
	aims     aims
	flight   flight
	asked    bool // whether there can be a flight, in this pass
	twice    bool // a machine has run twice in this step

	quiet    bool // in NoSync
	serial   bool // never begin a flight early
	held     int  // passes of this step that are added up
	stepping bool // the inner solver works on gradients
	used     bool // and has done so
	tail     tail

	sums        []elastic.Sum // see reducedSums
	bucketNames []string
	namedBy     plan

	syncs   []*SyncNormOp
	passErr error // of the last collective inside a pass

	passes float64
	noted  Stats // of this step
	stats  Stats
}

// group is what a Bridge needs of an elastic.Group.
type group interface {
	SetState(elastic.State)
	SetDigest(mine []byte, check func(ids []string, all [][]byte) error)
	Accumulating() bool
	Early() (*allreduce.Comm, elastic.Weights, bool)
	Commit(ctx context.Context, reduce func(*allreduce.Comm, elastic.Weights) error, apply func() error) (bool, error)
	Alloc(bytes int) []byte
	Free([]byte)
}

// An Option changes how a Bridge works.
type Option func(*options)

type options struct {
	metrics []*metric
	frozen  gorgonia.Nodes
	plan    plan
	fixed   bool
}

// BucketBytes sets how many bytes of gradients wait for each other before they
// travel together: for the first bucket, and for each of the others. It must be
// the same on all peers. By default it is 64 KiB and 256 KiB.
func BucketBytes(first, others int) Option {
	return func(o *options) { o.plan, o.fixed = plan{first, others}, true }
}

// MeasuredBuckets chooses the sizes of buckets by what the links do, whenever the
// group changes. On slow links that hides more of the communication. But which
// vector a gradient travels in decides in which order it is added up: with more
// than two peers, two runs no longer end with the same bits.
func MeasuredBuckets() Option {
	return func(o *options) { o.fixed = false }
}

// Frozen names parameters that are not trained: peers get them from each other
// like the others, but they need no gradient, and Step is not given them.
func Frozen(params ...*gorgonia.Node) Option {
	return func(o *options) { o.frozen = append(o.frozen, params...) }
}

// Attach joins the parameters of a graph to a group: at the start of training
// all peers get the parameters and the solver state of one of them, and so does
// whoever comes later. It is called before the first Shards. Parameters need
// values, names of their own, contiguous memory, and type float32 or float64;
// the error names the one that does not fit. Two peers whose parameters differ
// in name, shape or type cannot train together: elastic.Run fails on all of
// them, with one error that names the parameter and both shapes.
//
// A group has one Bridge: a program with several graphs gives it the parameters of
// all of them, and steps them together.
func Attach(g *elastic.Group, params gorgonia.Nodes, opts ...Option) (*Bridge, error) {
	if g.State() != nil {
		return nil, errSecond
	}
	return attach(g, params, opts...)
}

// errSecond reports a second Attach, whose State would take the place of the first.
var errSecond = errors.New("bridge: the group has a State already: attach the parameters of all graphs at once")

func attach(g group, nodes gorgonia.Nodes, opts ...Option) (*Bridge, error) {
	o := options{plan: usualPlan, fixed: true}
	for _, opt := range opts {
		opt(&o)
	}
	if len(nodes) == 0 {
		return nil, fmt.Errorf("bridge: no parameters")
	}
	all, err := newParams(append(slices.Clone(nodes), o.frozen...))
	if err != nil {
		return nil, err
	}
	if err := checkNames(o.metrics); err != nil {
		return nil, err
	}
	b := &Bridge{group: g, params: all[:len(nodes):len(nodes)], frozen: all[len(nodes):], metrics: o.metrics,
		grads: make([]gradient, len(nodes)), plan: o.plan, fixed: o.fixed, slots: make(map[*tensor.Dense]int)}
	b.engine = &engine{b: b}
	if err := b.syncNorms(); err != nil {
		return nil, err
	}
	b.tail = newTail(b.params, len(b.metrics))
	b.arrange()
	g.SetState(b)
	b.compare(g)
	b.describe()
	return b, nil
}

// Rebind goes on with another graph, in which the parameters have the same names,
// shapes and types, in the same order, and values that are used from now on. It
// is for loops that build a graph for every step, which all peers must do alike;
// the graph before it is of no more use to this bridge.
func (b *Bridge) Rebind(params gorgonia.Nodes) error {
	all, err := newParams(params)
	if err != nil {
		return err
	}
	if len(all) != len(b.params) {
		return fmt.Errorf("bridge: the new graph has %d parameters, the old one %d", len(all), len(b.params))
	}
	for i, p := range b.params {
		if q := all[i]; q.name != p.name || q.dtype != p.dtype || !q.shape.Eq(p.shape) || q.colMajor != p.colMajor {
			return fmt.Errorf("bridge: parameter %d of the new graph is %q %v of %v, in the old one it is %q %v of %v", i, q.name, q.shape, q.dtype, p.name, p.shape, p.dtype)
		}
	}
	b.Forget()
	b.params = all
	for i := range b.grads { // until VM binds them
		b.grads[i].slots, b.grads[i].value = [2]*tensor.Dense{}, nil
	}
	clear(b.slots)
	return b.syncNorms()
}

// NoSync runs a pass of which the gradients are added to those of the passes that
// follow until Step; nothing is sent. Under Shards it is not needed.
func (b *Bridge) NoSync(run func() error) error {
	if len(b.syncs) > 0 {
		return ErrPasses
	}
	b.quiet = true
	err := run()
	b.quiet = false
	if err == nil {
		err = b.closePass(true)
	}
	return err
}

// Close gives back the memory of the gradients, which are then Gorgonia's again.
// A Bridge need not be closed when the process ends anyway.
func (b *Bridge) Close() {
	_ = b.flight.wait(context.Background()) // of a communicator that is closed, or has finished them
	b.disarm()
	for _, s := range b.places {
		if g, p := &b.grads[s.param], b.params[s.param]; g.slots[0] != nil {
			gorgonia.WithGrad(tensor.New(tensor.WithShape(p.shape...), tensor.Of(p.dtype)))(p.node)
			*g = gradient{place: g.place, bucket: g.bucket}
		}
	}
	clear(b.slots)
	for i, a := range b.arenas {
		if a != nil {
			b.group.Free(a)
		}
		b.arenas[i] = nil
	}
}

// describe gives the group what it compares with the other peers.
func (b *Bridge) describe() { b.group.SetDigest(b.digest().encode(), compareDigests) }

// all returns the parameters, those that are not trained last.
func (b *Bridge) all() []param { return append(slices.Clone(b.params), b.frozen...) }

// WriteParams writes the parameters in order, each as its elements in the order
// of memory, little-endian.
func (b *Bridge) WriteParams(w io.Writer) error {
	for _, p := range b.all() {
		_, a, err := p.value()
		if err != nil {
			return err
		}
		if err := a.writeTo(w); err != nil {
			return fmt.Errorf("bridge: write parameter %q: %w", p.name, err)
		}
	}
	return nil
}

// ParamsHash returns the SHA-256, in hexadecimal, of what WriteParams writes.
// After the same step it is the same on all peers. It panics when a parameter
// has lost its value.
func (b *Bridge) ParamsHash() string {
	h := sha256.New()
	if err := b.WriteParams(h); err != nil {
		panic(err.Error())
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Passes returns how many full passes, over all peers, went into the steps that
// this peer has committed. Times the rows of a pass it is the number of samples.
func (b *Bridge) Passes() float64 { return b.passes }
