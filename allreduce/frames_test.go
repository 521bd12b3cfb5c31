package allreduce_test

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/allreduce/codec"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// FuzzFrames lets a Comm meet a neighbour that sends any frames at all. Its
// collectives must end, well or not, and whatever is in memory must stay there.
func FuzzFrames(f *testing.F) {
	plain := func(op uint8) ring.Header { return ring.Header{Op: op, Type: uint8(allreduce.Float32), Count: 10} }
	step := func(h ring.Header, seq uint32, step uint16, offset uint64) ring.Header {
		h.Seq, h.Step, h.Offset = seq, step, offset
		return h
	}
	var good []byte
	good = appendFrame(good, step(plain(0), 0, 0, 0), make([]byte, 40)) // small vectors are exchanged
	cast := plain(16)
	cast.Root = 1
	good = appendFrame(good, step(cast, 1, 0, 0), nil)
	good = appendFrame(good, step(cast, 1, 1, 0), make([]byte, 40))
	collect := ring.Header{Op: 17, Count: 30}
	good = appendFrame(good, step(collect, 2, 0, 0), make([]byte, 10))
	good = appendFrame(good, step(collect, 2, 0, 10), make([]byte, 20))
	f.Add(uint8(0), good)
	half := plain(0)
	half.Codec = 1
	encoded := func(c allreduce.Codec) []byte {
		return c.AppendTo([]byte{5, 0, 0, 0}, allreduce.Of(make([]float32, 5)))
	}
	f.Add(uint8(1), appendFrame(appendFrame(nil, step(half, 0, 0, 0), encoded(codec.Half{})), step(half, 0, 1, 5), encoded(codec.Half{})))
	zstd := plain(0)
	zstd.Codec = 2
	f.Add(uint8(2), appendFrame(appendFrame(nil, step(zstd, 0, 0, 0), encoded(new(codec.Zstd))), step(zstd, 0, 1, 5), encoded(new(codec.Zstd))))
	byKind := func(kind uint8, frames ...[]byte) { f.Add(6*kind, slices.Concat(frames...)) }
	byKind(1, appendFrame(nil, ring.Header{Op: 23, Type: 1, Count: 20}, make([]byte, 8)), // an all-to-all
		appendFrame(nil, ring.Header{Op: 23, Type: 1, Count: 20, Offset: 8}, make([]byte, 12)))
	byKind(2, appendFrame(nil, ring.Header{Op: 24, Type: 1, Count: 10, Root: 1}, make([]byte, 40)))      // a message to us
	byKind(3, appendFrame(nil, ring.Header{Op: 25, Type: 1, Count: 10, Root: 1 << 16, Offset: 40}, nil)) // a grant
	scattered := ring.Header{Op: 21, Type: 1, Count: 10, Root: 1}
	byKind(4, appendFrame(nil, scattered, nil), appendFrame(nil, step(scattered, 0, 1, 0), make([]byte, 20)))
	f.Add(uint8(0), appendFrame(nil, ring.Header{Op: 19, Root: 1}, []byte("collective 0: they disagree")))
	f.Add(uint8(0), appendFrame(nil, ring.Header{Op: 19, Root: 0}, []byte("collective 0: we disagree")))

	f.Fuzz(func(t *testing.T, id uint8, frames []byte) {
		synctest.Test(t, func(t *testing.T) { meet(t, id, frames) })
	})
}

// appendFrame writes a frame as meet reads it: a short form of the header, in
// which any bytes mean something.
func appendFrame(b []byte, h ring.Header, body []byte) []byte {
	b = append(b, h.Op, h.Type, h.Codec, byte(h.Seq), byte(h.Step), byte(h.Root)|byte(h.Root>>16<<4), byte(len(body)))
	b = binary.LittleEndian.AppendUint16(b, uint16(h.Count))
	b = binary.LittleEndian.AppendUint16(b, uint16(h.Offset))
	return append(b, body...)
}

const shortHeader = 11

// meet opens a ring of two: a Comm, and a peer that sends the frames and leaves.
func meet(t *testing.T, id uint8, frames []byte) {
	net := ringtest.NewNet(ringtest.Options{FrameBytes: 64, Lanes: 1 + int(id/3)%2})
	peers := []string{"p0", "p1"}
	rings := make([]*ring.Ring, 2)
	var wg sync.WaitGroup
	for i, p := range peers {
		wg.Go(func() {
			r, err := ring.Open(t.Context(), ring.Config{Self: p, Peers: peers, Epoch: 1, Transport: net.Transport(p)})
			if err != nil {
				t.Error(err)
			}
			rings[i] = r
		})
	}
	wg.Wait()
	cfg := allreduce.Config{InFlightBytes: 100}
	switch id % 3 {
	case 1:
		cfg.Codec = codec.Half{}
	case 2:
		cfg.Codec = new(codec.Zstd)
	}
	c := allreduce.New(rings[0], cfg)
	wg.Go(func() { stranger(rings[1], frames) })
	begin := time.Now()
	err := collectives(c, id/6)
	if d := time.Since(begin); d > 30*time.Second { // half of what ends it in any case
		t.Errorf("it took %v: %v", d, err)
	}
	if err != nil && !errors.Is(err, ring.ErrBroken) && !errors.Is(err, allreduce.ErrMismatch) {
		t.Error(err)
	}
	c.Close()
	wg.Wait()
}

func collectives(c *allreduce.Comm, kind uint8) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	x := make([]float32, 12)
	x[0], x[11] = 42, 42
	v := allreduce.Of(x[1:11])
	halves := []allreduce.Vector{v.Slice(0, 5), v.Slice(5, 10)}
	var err error
	switch kind % 6 {
	case 1:
		err = c.AllToAll(ctx, halves, []allreduce.Vector{allreduce.Of(make([]float32, 5)), allreduce.Of(make([]float32, 5))})
	case 2:
		err = c.Recv(ctx, v, 1)
	case 3:
		err = c.Send(ctx, v, 1)
	case 4:
		err = c.Scatter(ctx, v, nil, 1)
	case 5:
		err = c.ReduceScatter(ctx, v, allreduce.Sum, nil)
	default:
		err = c.AllReduce(ctx, v, allreduce.Sum)
	}
	if err != nil {
		return err
	}
	if err := c.Broadcast(ctx, allreduce.Of(x[1:11]), 1); err != nil {
		return err
	}
	if x[0] != 42 || x[11] != 42 {
		return errors.New("written beside the vector")
	}
	_, err = c.Gather(ctx, []byte("mine"))
	return err
}

// stranger sends frames, takes in what comes, and leaves. Before each frame it
// waits until nothing else happens: a peer that sends results before it can have
// them makes the other end overwrite what it still sends, which does no harm
// but to the numbers, and which the race detector would report.
func stranger(r *ring.Ring, frames []byte) {
	var wg sync.WaitGroup
	for _, l := range r.Lanes() {
		wg.Go(func() {
			for {
				if _, err := l.Next(); err != nil {
					return
				}
			}
		})
	}
	for len(frames) >= shortHeader {
		synctest.Wait()
		b := frames[:shortHeader]
		frames = frames[shortHeader:]
		h := ring.Header{
			Op: b[0], Type: b[1], Codec: b[2], Seq: uint32(int8(b[3])), Step: uint16(b[4]), Root: uint32(b[5]&15) | uint32(b[5]>>4)<<16,
			Count: uint64(int16(binary.LittleEndian.Uint16(b[7:]))), Offset: uint64(int16(binary.LittleEndian.Uint16(b[9:]))),
		}
		n := min(int(b[6]), len(frames), r.FrameBytes())
		lane := r.Lanes()[int(h.Step)%len(r.Lanes())]
		if lane.Send(h, frames[:n]) != nil {
			break
		}
		frames = frames[n:]
	}
	r.Close()
	wg.Wait()
}
