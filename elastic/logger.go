package elastic

import (
	"fmt"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// logger returns a logger of what an environment asks for. In JSON each line is an object with ts, level,
// logger, msg, and then peer, rank, epoch and step of the group it was made for.
func logger(level, format string, out zapcore.WriteSyncer) (*zap.Logger, error) {
	if level == "" {
		level = "warn"
	}
	l, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, fmt.Errorf("elastic: RINGRUN_LOG is %q, want debug, info, warn or error", level)
	}
	switch format {
	case "", "console":
		enc := zap.NewDevelopmentEncoderConfig()
		enc.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(enc), out, l)), nil
	case "json":
		return zap.New(&placed{zapcore.NewCore(jsonEncoder(), out, l), &atomic.Pointer[Group]{}}), nil
	}
	return nil, fmt.Errorf("elastic: RINGRUN_LOG_FORMAT is %q, want console or json", format)
}

func jsonEncoder() zapcore.Encoder {
	enc := zap.NewProductionEncoderConfig()
	enc.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	enc.EncodeDuration = zapcore.SecondsDurationEncoder
	return zapcore.NewJSONEncoder(enc)
}

// placed is a core that adds to each line where this peer is.
type placed struct {
	zapcore.Core
	group *atomic.Pointer[Group] // nil until there is one
}

// place lets a logger of FromEnv tell of a group.
func place(l *zap.Logger, g *Group) {
	if p, ok := l.Core().(*placed); ok {
		p.group.Store(g)
	}
}

func (p *placed) With(fields []zapcore.Field) zapcore.Core {
	return &placed{p.Core.With(fields), p.group}
}

func (p *placed) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if p.Enabled(e.Level) {
		return c.AddCore(e, p)
	}
	return c
}

func (p *placed) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if g := p.group.Load(); g != nil {
		fields = append(g.place(), fields...)
	}
	return p.Core.Write(e, fields)
}

// place says where this peer is. Whoever logs may hold g.mu, so it is not taken.
func (g *Group) place() []zapcore.Field {
	fields := []zapcore.Field{zap.Uint64("step", g.meter.step())}
	if id := g.where.id.Load(); id != nil {
		fields = append(fields, zap.String("peer", *id))
	}
	if gen := g.where.gen.Load(); gen != nil {
		fields = append(fields, zap.Int("rank", gen.rank), zap.Uint64("epoch", gen.view.Epoch))
	}
	return fields
}
