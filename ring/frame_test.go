package ring

import (
	"bytes"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"
)

// full has a different value in each field.
var full = Header{
	Kind: Abort, Codec: 2, Type: 3, Op: 4, Step: 0x0605, Epoch: 0x0e0d0c0b0a090807, Seq: 0x1211100f,
	Length: 0x00151413, Count: 0x1e1d1c1b1a191817, Offset: 0x262524232221201f, Root: 0x2a292827,
}

func TestHeaderBytes(t *testing.T) {
	const want = "52 01 03 02 03 04 0506 0708090a0b0c0d0e 0f101112 13141500" +
		" 1718191a1b1c1d1e 1f20212223242526 2728292a"
	b := full.AppendTo([]byte("kept"))
	if len(b) != 4+HeaderBytes || string(b[:4]) != "kept" {
		t.Fatalf("AppendTo made %d bytes of 4, want %d more", len(b), HeaderBytes)
	}
	if got := hex.EncodeToString(b[4 : len(b)-4]); got != strings.ReplaceAll(want, " ", "") {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestHeaderRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		h := Header{
			Kind: Data + Kind(rnd.IntN(4)), Codec: uint8(rnd.Uint32()), Type: uint8(rnd.Uint32()), Op: uint8(rnd.Uint32()),
			Step: uint16(rnd.Uint32()), Epoch: rnd.Uint64(), Seq: rnd.Uint32(), Length: rnd.Uint32N(MaxBody + 1),
			Count: rnd.Uint64(), Offset: rnd.Uint64(), Root: rnd.Uint32(),
		}
		got, err := ParseHeader(append(h.AppendTo(nil), "body"...))
		if err != nil || got != h {
			t.Fatalf("%+v came back as %+v, %v", h, got, err)
		}
	}
}

func TestHeaderErrors(t *testing.T) {
	resum := func(b []byte) []byte {
		sum := crc32.Checksum(b[:HeaderBytes-4], castagnoli)
		return append(b[:HeaderBytes-4], byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24))
	}
	change := func(i int, v byte) []byte {
		b := full.AppendTo(nil)
		b[i] = v
		return resum(b)
	}
	for _, tt := range []struct {
		name string
		b    []byte
		want string
	}{
		{"nothing", nil, "0 bytes, want at least 48"},
		{"short", full.AppendTo(nil)[:47], "47 bytes"},
		{"http", []byte("GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n"), "first byte 0x47, want 0x52"},
		{"version", change(1, 9), "version 9, this is version 1"},
		{"kind zero", change(2, 0), "kind 0"},
		{"kind", change(2, 5), "kind 5"},
		{"length", change(23, 1), "at most 4194304"},
		{"checksum", append(full.AppendTo(nil)[:47], 0xff), "checksum"},
	} {
		if h, err := ParseHeader(tt.b); !errors.Is(err, ErrFrame) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %+v, %v; want an ErrFrame: %s", tt.name, h, err, tt.want)
		}
	}
}

// TestHeaderBitFlips: no single wrong bit goes unnoticed.
func TestHeaderBitFlips(t *testing.T) {
	for bit := range 8 * HeaderBytes {
		b := full.AppendTo(nil)
		b[bit/8] ^= 1 << (bit % 8)
		if h, err := ParseHeader(b); err == nil {
			t.Errorf("bit %d flipped: read as %+v", bit, h)
		}
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add(full.AppendTo(nil))
	f.Add(Header{Kind: Data, Length: MaxBody}.AppendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if err != nil {
			if !errors.Is(err, ErrFrame) {
				t.Errorf("%x: %v, want an ErrFrame", b, err)
			}
			return
		}
		if again := h.AppendTo(nil); !bytes.Equal(again, b[:HeaderBytes]) {
			t.Errorf("%x was read as %+v, which is %x", b, h, again)
		}
	})
}
