package rtc

import (
	"fmt"

	"github.com/pion/logging"
	"go.uber.org/zap"
)

// logs gives pion's logs to zap. pion warns of much that is ordinary when
// connections come and go, so all of it is for debugging.
type logs struct{ *zap.Logger }

func (l logs) NewLogger(scope string) logging.LeveledLogger {
	return logger{l.Named("pion." + scope).Sugar(), l.Core().Enabled(zap.DebugLevel)}
}

type logger struct {
	to *zap.SugaredLogger
	on bool // saves the formatting, which is in pion's hot paths
}

func (l logger) print(msg string) {
	if l.on {
		l.to.Debug(msg)
	}
}

func (l logger) printf(format string, args ...any) {
	if l.on {
		l.to.Debug(fmt.Sprintf(format, args...))
	}
}

// What pion traces and debugs is about single packets, and is dropped.

func (l logger) Trace(string)          {}
func (l logger) Tracef(string, ...any) {}
func (l logger) Debug(string)          {}
func (l logger) Debugf(string, ...any) {}

func (l logger) Info(msg string)                   { l.print(msg) }
func (l logger) Infof(format string, args ...any)  { l.printf(format, args...) }
func (l logger) Warn(msg string)                   { l.print(msg) }
func (l logger) Warnf(format string, args ...any)  { l.printf(format, args...) }
func (l logger) Error(msg string)                  { l.print(msg) }
func (l logger) Errorf(format string, args ...any) { l.printf(format, args...) }
