package bench

import "fmt"

// text collects the layers of a transformer that reads so many tokens at once.
type text struct {
	layers        []Layer
	tokens, width int
}

func (t *text) add(name string, workPerToken int, tensors ...Tensor) {
	t.layers = append(t.layers, Layer{Name: name, Tensors: tensors, Work: float64(workPerToken * t.tokens)})
}

// table adds an embedding: only looked up, so nearly for nothing.
func (t *text) table(name string, rows int) {
	t.add(name, t.width, Tensor{"weight", rows * t.width})
}

func (t *text) dense(name string, in, out int) {
	t.add(name, in*out, Tensor{"weight", in * out}, Tensor{"bias", out})
}

func (t *text) norm(name string) {
	t.add(name, t.width, Tensor{"weight", t.width}, Tensor{"bias", t.width})
}

// attend adds what has no parameters: every token's products with all others.
func (t *text) attend(name string) { t.add(name, 2*t.tokens*t.width) }

// bert returns BERT base, uncased, with its pooler (Devlin et al., 2018), for
// sequences of 128 tokens.
func bert() []Layer {
	t := &text{tokens: 128, width: 768}
	t.table("word", 30522)
	t.table("position", 512)
	t.table("segment", 2)
	t.norm("embedding.norm")
	for i := range 12 {
		name := fmt.Sprintf("block%d.", i)
		for _, part := range []string{"query", "key", "value"} {
			t.dense(name+part, t.width, t.width)
		}
		t.attend(name + "attention")
		t.dense(name+"output", t.width, t.width)
		t.norm(name + "norm1")
		t.dense(name+"expand", t.width, 4*t.width)
		t.dense(name+"contract", 4*t.width, t.width)
		t.norm(name + "norm2")
	}
	pooler := t.width * t.width // of the first token only
	t.layers = append(t.layers, Layer{"pooler",
		[]Tensor{{"weight", pooler}, {"bias", t.width}}, float64(pooler)})
	return t.layers
}

// gpt2 returns the smallest GPT-2 (Radford et al., 2019), for sequences of 1024
// tokens. Its last matrix is the embedding again: it costs work at the end of
// the forward pass, but its gradient is complete only at the very end of the
// backward pass, with the embedding's.
func gpt2() []Layer {
	t := &text{tokens: 1024, width: 768}
	const vocabulary = 50257
	t.table("word", vocabulary)
	t.table("position", 1024)
	for i := range 12 {
		name := fmt.Sprintf("block%d.", i)
		t.norm(name + "norm1")
		t.dense(name+"qkv", t.width, 3*t.width)
		t.attend(name + "attention")
		t.dense(name+"output", t.width, t.width)
		t.norm(name + "norm2")
		t.dense(name+"expand", t.width, 4*t.width)
		t.dense(name+"contract", 4*t.width, t.width)
	}
	t.norm("norm")
	t.add("head", vocabulary*t.width)
	return t.layers
}
