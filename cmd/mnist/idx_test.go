package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// imagesFile returns an IDX file of n images, each filled with its number.
func imagesFile(n int) []byte {
	b := header(imagesMagic, n, side, side)
	for i := range n {
		b = append(b, bytes.Repeat([]byte{byte(i)}, imageBytes)...)
	}
	return b
}

// labelsFile returns an IDX file of n labels: 0, 1, …, 9, 0, ….
func labelsFile(n int) []byte {
	b := header(labelsMagic, n)
	for i := range n {
		b = append(b, byte(i%classes))
	}
	return b
}

func header(words ...int) []byte {
	var b []byte
	for _, w := range words {
		b = binary.BigEndian.AppendUint32(b, uint32(w))
	}
	return b
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func dirOf(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	testImages  = "t10k-images-idx3-ubyte"
	testLabels  = "t10k-labels-idx1-ubyte"
	trainImages = "train-images-idx3-ubyte"
	trainLabels = "train-labels-idx1-ubyte"
)

func TestReadData(t *testing.T) {
	for _, tt := range []struct {
		name        string
		files       map[string][]byte
		train, test int
		first       byte // pixel of the first test image
	}{
		{"test files alone are split", map[string][]byte{testImages: imagesFile(10), testLabels: labelsFile(10)}, 8, 2, 8},
		{"gzipped", map[string][]byte{testImages + ".gz": zipped(imagesFile(10)), testLabels + ".gz": zipped(labelsFile(10))}, 8, 2, 8},
		{"both parts, mixed", map[string][]byte{
			testImages: imagesFile(3), testLabels + ".gz": zipped(labelsFile(3)),
			trainImages + ".gz": zipped(imagesFile(7)), trainLabels: labelsFile(7),
		}, 7, 3, 0},
	} {
		train, test, err := readData(dirOf(t, tt.files))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if train.count() != tt.train || test.count() != tt.test || test.pixels[0] != tt.first || test.labels[0] != tt.first {
			t.Errorf("%s: %d and %d samples, first test pixel %d, label %d; want %d, %d, %d and the same",
				tt.name, train.count(), test.count(), test.pixels[0], test.labels[0], tt.train, tt.test, tt.first)
		}
	}
}

func TestReadDataErrors(t *testing.T) {
	images, labels := imagesFile(10), labelsFile(10)
	wrongLabel := bytes.Clone(labels)
	wrongLabel[8+3] = 12
	for _, tt := range []struct {
		name  string
		files map[string][]byte
		want  []string
	}{
		{"nothing", nil, []string{"expected the file t10k-images-idx3-ubyte or t10k-images-idx3-ubyte.gz"}},
		{"no labels", map[string][]byte{testImages: images}, []string{"expected the file t10k-labels-idx1-ubyte"}},
		{"train half there", map[string][]byte{testImages: images, testLabels: labels, trainImages: images}, []string{"expected the file train-labels-idx1-ubyte"}},
		{"empty", map[string][]byte{testImages: nil, testLabels: labels}, []string{testImages, "truncated: 0 bytes, expected a header of 16"}},
		{"labels as images", map[string][]byte{testImages: labelsFile(4), testLabels: labels}, []string{testImages, "magic number 0x00000801, expected 0x00000803"}},
		{"images as labels", map[string][]byte{testImages: images, testLabels: images}, []string{testLabels, "magic number 0x00000803, expected 0x00000801"}},
		{"truncated", map[string][]byte{testImages: images[:5000], testLabels: labels}, []string{testImages, "truncated: 4984 bytes after the header, expected 7840 for 10 images"}},
		{"truncated gzip", map[string][]byte{testImages + ".gz": zipped(images)[:40], testLabels: labels}, []string{testImages + ".gz", "truncated", "expected"}},
		{"not gzip", map[string][]byte{testImages + ".gz": images, testLabels: labels}, []string{testImages + ".gz", "not a gzip file"}},
		{"huge count", map[string][]byte{testImages: header(imagesMagic, 1<<32-1, side, side), testLabels: labels}, []string{"truncated: 0 bytes after the header, expected 3367254359280"}},
		{"too long", map[string][]byte{testImages: append(bytes.Clone(images), 7), testLabels: labels}, []string{testImages, "more than the 7840 bytes"}},
		{"other size", map[string][]byte{testImages: header(imagesMagic, 1, 32, 32), testLabels: labels}, []string{"32x32, expected 28x28"}},
		{"counts differ", map[string][]byte{testImages: images, testLabels: labelsFile(9)}, []string{testLabels, "has 9 labels", testImages, "has 10 images"}},
		{"no such label", map[string][]byte{testImages: images, testLabels: wrongLabel}, []string{testLabels, "label 3 is 12, expected 0 to 9"}},
		{"too few to split", map[string][]byte{testImages: imagesFile(1), testLabels: labelsFile(1)}, []string{"0 samples to train"}},
	} {
		dir := dirOf(t, tt.files)
		_, _, err := readData(dir)
		if err == nil {
			t.Errorf("%s: no error, want %q", tt.name, tt.want)
			continue
		}
		for _, want := range append(tt.want, dir) {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %q, want it to say %q", tt.name, err, want)
			}
		}
	}
}

// Whatever the input, parsing ends, and what it accepts is what it says it is.
func FuzzIDX(f *testing.F) {
	f.Add(imagesFile(1))
	f.Add(labelsFile(12))
	f.Add(header(imagesMagic, 1<<32-1, side, side))
	f.Add(header(labelsMagic, 1<<32-1))
	f.Add(imagesFile(2)[:900])
	f.Fuzz(func(t *testing.T, b []byte) {
		if px, err := parseImages(bytes.NewReader(b)); err == nil {
			if len(px)%imageBytes != 0 || !bytes.Equal(append(header(imagesMagic, len(px)/imageBytes, side, side), px...), b) {
				t.Errorf("%d bytes of pixels from %d bytes of file", len(px), len(b))
			}
		}
		if labels, err := parseLabels(bytes.NewReader(b)); err == nil {
			if !bytes.Equal(append(header(labelsMagic, len(labels)), labels...), b) {
				t.Errorf("%d labels from %d bytes of file", len(labels), len(b))
			}
		}
	})
}
