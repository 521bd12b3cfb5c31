package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zapio"
)

// Objects are what a printer writes with -log-format json, one a line, in the
// format of the workers' own logs.
type objects struct {
	out, err *zap.Logger
}

func newObjects(out, err io.Writer) *objects {
	enc := zap.NewProductionEncoderConfig()
	enc.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	to := func(w io.Writer) *zap.Logger {
		core := zapcore.NewCore(zapcore.NewJSONEncoder(enc), zapcore.Lock(zapcore.AddSync(w)), zap.InfoLevel)
		return zap.New(core).Named("ringrun")
	}
	return &objects{to(out), to(err)}
}

// printer returns a printer of what the options ask for.
func (o *options) printer() *printer {
	p := newPrinter(os.Stdout, os.Stderr)
	if o.logFormat == "json" {
		p.objects, p.live = newObjects(os.Stdout, os.Stderr), false
	}
	return p
}

// line keeps an object that a worker writes as one, so that its log can be
// searched by its fields.
func (o *objects) line(worker int, stderr bool, text []byte) {
	to, stream := o.out, "stdout"
	if stderr {
		to, stream = o.err, "stderr"
	}
	what := zap.ByteString("line", text)
	if len(text) > 0 && text[0] == '{' && json.Valid(text) {
		what = zap.Reflect("entry", json.RawMessage(text))
	}
	to.Info("output", zap.Int("worker", worker), zap.String("stream", stream), what)
}

// raw is where another program may write for the user to read.
func (p *printer) raw() io.Writer {
	if p.objects != nil {
		return &zapio.Writer{Log: p.objects.err}
	}
	return os.Stderr
}

// ends prints the error that ends ringrun, if lines are objects; else that is left
// to exitCode.
func (p *printer) ends(err error) error {
	if err == nil || p.objects == nil || errors.As(err, new(exitStatus)) {
		return err
	}
	text, status := explain(err)
	p.objects.err.Error(text)
	return exitStatus(status)
}

// explain says what goes wrong, and what the exit status is then.
func explain(err error) (text string, status int) {
	if usage := new(usageError); errors.As(err, usage) {
		return fmt.Sprintf("%v (ringrun -h explains)", err), 2
	}
	return err.Error(), 1
}
