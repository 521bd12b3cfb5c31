package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ringrun/ringrun/allreduce"
)

// A Training emulates data-parallel training of a model. The forward and the
// backward pass are slept, layer by layer, each for its share of the model's
// multiplications; the gradients are real memory and really all-reduced, each
// bucket as soon as the backward pass has been through its layers. Sleeping
// takes no processor from the communication, as an accelerator would not; so
// many peers fit on few processors.
//
// Gradients lie in the buckets from the start: nothing is packed. A step ends
// when all buckets are reduced; nothing is updated.
type Training struct {
	Transport   string // what results are labelled with; the Comm decides
	Codec       string
	Model       string
	Compute     time.Duration // of one step; default: the model's. A third of it is the forward pass
	Scale       float64       // share of the model's bytes that is moved; default 1
	FirstBytes  int           // of the first bucket; default 1 MiB
	BucketBytes int           // of the others; default 25 MiB
	Steps       int           // per round; default 5
	Rounds      int           // default 3
}

func (t Training) withDefaults(m Model) Training {
	if t.Compute == 0 {
		t.Compute = m.Compute
	}
	if t.Scale == 0 {
		t.Scale = 1
	}
	if t.FirstBytes == 0 {
		t.FirstBytes = 1 << 20
	}
	if t.BucketBytes == 0 {
		t.BucketBytes = 25 << 20
	}
	if t.Steps == 0 {
		t.Steps = 5
	}
	if t.Rounds == 0 {
		t.Rounds = 3
	}
	return t
}

// training is a Training in progress on one peer.
type training struct {
	Training
	c        Comm
	say      func(format string, args ...any)
	forward  []time.Duration // when each layer is done, from the start of the pass
	backward []time.Duration // the same, in backward order
	plan     *allreduce.Plan
	launch   [][]*allreduce.Bucket // the buckets complete after each backward layer

	comm, exposed []time.Duration // per step
}

// Run takes part in the training; see Job.Run.
func (t Training) Run(ctx context.Context, c Comm, report func(Result), progress func(string)) error {
	m, err := LookupModel(t.Model)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	w := &training{Training: t.withDefaults(m), c: c}
	if err := w.build(m.Scaled(w.Scale)); err != nil {
		return err
	}
	w.say = func(format string, args ...any) {
		if c.Rank() == 0 {
			progress(fmt.Sprintf("%s, %d peers: ", t.Model, c.Size()) + fmt.Sprintf(format, args...))
		}
	}
	w.say("checking a step")
	wrong, err := w.check(ctx)
	if err != nil {
		return err
	}
	sum, err := w.rounds(ctx)
	if err != nil {
		return err
	}
	if c.Rank() == 0 {
		r := w.result(wrong, sum)
		report(Result{Step: &r})
	}
	return nil
}

// rounds trains one step to warm up, and then measures.
func (t *training) rounds(ctx context.Context) (measured, error) {
	if _, err := t.steps(ctx, 1); err != nil {
		return measured{}, err
	}
	t.comm, t.exposed = nil, nil
	var sum measured
	for r := range t.Rounds {
		t.say("round %d of %d, %d steps of %v", r+1, t.Rounds, t.Steps, t.Compute)
		m, err := round(ctx, t.c, func() ([]time.Duration, error) { return t.steps(ctx, t.Steps) })
		if err != nil {
			return measured{}, err
		}
		sum.add(m)
	}
	return sum, nil
}

// build plans the buckets in backward order.
func (t *training) build(m Model) error {
	var order []int
	t.forward = m.forward(t.Compute / 3)
	order, t.backward = m.backward(t.Compute - t.Compute/3)
	var specs []allreduce.Spec
	var readyAt []int // position in the backward order, per spec
	for at, i := range order {
		for _, x := range m.Layers[i].Tensors {
			name := m.Layers[i].Name + "." + x.Name
			specs = append(specs, allreduce.Spec{Name: name, Type: allreduce.Float32, Len: x.Len})
			readyAt = append(readyAt, at)
		}
	}
	var err error
	if t.plan, err = allreduce.NewPlan(specs, t.FirstBytes, t.BucketBytes); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	t.launch = make([][]*allreduce.Bucket, len(order))
	for _, b := range t.plan.Buckets() {
		at := 0
		for _, i := range b.Specs() {
			at = max(at, readyAt[i])
		}
		t.launch[at] = append(t.launch[at], b)
	}
	return nil
}

// check reduces all buckets once and counts, over all peers, the elements that
// are wrong. What stays in the buckets is what later steps average: equal on all
// peers, so that it stays as it is.
func (t *training) check(ctx context.Context) (int, error) {
	rank, size, wrong := t.c.Rank(), t.c.Size(), 0
	limit := tolerance(allreduce.Float32, t.Codec, size)
	for _, b := range t.plan.Buckets() {
		v := b.Vector()
		m := numbersIn(allreduce.Float32, allreduce.Elements[float32](v))
		m.fill(allreduce.Mean, rank, size, v.Len())
		if err := t.c.AllReduce(ctx, v, allreduce.Mean); err != nil {
			return 0, err
		}
		wrong += m.wrong(allreduce.Mean, size, v.Len(), limit)
	}
	table, err := exchange(ctx, t.c, float64(wrong))
	if err != nil {
		return 0, err
	}
	return int(column(table, 0)), nil
}

// steps trains n steps and returns their durations.
func (t *training) steps(ctx context.Context, n int) ([]time.Duration, error) {
	var times []time.Duration
	last := time.Now()
	for range n {
		if err := t.step(ctx, last); err != nil {
			return nil, err
		}
		now := time.Now()
		times = append(times, now.Sub(last))
		last = now
	}
	return times, nil
}

// flight is a bucket on its way: when, from the start of the step.
type flight struct {
	span
	work *allreduce.Work
}

// step emulates one step that began at start. Layers end at fixed times after
// it, so that what one sleep is late the next one makes up for.
func (t *training) step(ctx context.Context, start time.Time) error {
	for _, at := range t.forward {
		if err := sleepUntil(ctx, start.Add(at)); err != nil {
			return err
		}
	}
	var flights []*flight
	var landed sync.WaitGroup
	turn := t.forward[len(t.forward)-1]
	for i, at := range t.backward {
		if err := sleepUntil(ctx, start.Add(turn+at)); err != nil {
			return errors.Join(err, land(ctx, flights, &landed))
		}
		for _, b := range t.launch[i] {
			f := &flight{span: span{from: time.Since(start)}, work: t.c.Start(b.Vector(), allreduce.Mean)}
			flights = append(flights, f)
			landed.Go(func() {
				<-f.work.Done()
				f.to = time.Since(start)
			})
		}
	}
	computed := time.Since(start)
	if err := land(ctx, flights, &landed); err != nil {
		return err
	}
	t.account(flights, computed)
	return nil
}

// land waits for all flights; nothing stays in the air, whatever happens.
func land(ctx context.Context, flights []*flight, landed *sync.WaitGroup) error {
	var first error
	for _, f := range flights {
		if err := f.work.Wait(ctx); err != nil && first == nil {
			first = err
		}
	}
	landed.Wait()
	return first
}

// account notes how long the step communicated, and how long of that after the
// backward pass.
func (t *training) account(flights []*flight, computed time.Duration) {
	var spans []span
	end := computed
	for _, f := range flights {
		spans = append(spans, f.span)
		end = max(end, f.to)
	}
	t.comm = append(t.comm, covered(spans))
	t.exposed = append(t.exposed, end-computed)
}

func sleepUntil(ctx context.Context, at time.Time) error {
	d := time.Until(at)
	if d <= 0 {
		return ctx.Err()
	}
	return pause(ctx, d)
}

func (t *training) result(wrong int, m measured) StepResult {
	bytes := 0
	for _, b := range t.plan.Buckets() {
		bytes += len(b.Vector().Bytes())
	}
	sp, comm := spreadOf(m.times), quantile(t.comm, 0.5)
	gb, steps := float64(bytes)/1e9, float64(t.Steps*t.Rounds)
	return StepResult{
		Model:     t.Model,
		Size:      t.c.Size(),
		Transport: t.Transport,
		Codec:     t.Codec,
		Params:    bytes / allreduce.Float32.Size(),
		Bytes:     bytes,
		Buckets:   len(t.plan.Buckets()),
		ComputeMS: millis(t.Compute),
		StepMS:    millis(sp.Median), StepLow: millis(sp.Low), StepHigh: millis(sp.High),
		CommMS:    millis(comm),
		ExposedMS: millis(quantile(t.exposed, 0.5)),
		BusGBps:   BusFactor(t.c.Size()) * rate(gb, comm),
		CPUPerGB:  share(m.cpu, gb*steps),
		Foreign:   share(m.foreign, m.wall),
		Steps:     t.Steps, Rounds: t.Rounds,
		Errors: wrong,
		OK:     wrong == 0,
	}.WithBase(nil)
}
