package main

import (
	"io"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// logSettings are --log-level and --log-format; kong has validated them.
type logSettings struct {
	level, format string
}

// severity returns the level, which is an enum on the command line.
func (l logSettings) severity() (level zapcore.Level) {
	_ = level.Set(l.level)
	return level
}

// logged is embedded by the commands that have a log.
type logged struct {
	settings logSettings
	level    zap.AtomicLevel // of the logger
}

func (l *logged) setLog(settings logSettings) { l.settings = settings }

// logger returns a logger that writes to w, one line per entry.
func (l *logged) logger(w io.Writer) *zap.Logger {
	l.level = zap.NewAtomicLevelAt(l.settings.severity())
	encoding := zap.NewProductionEncoderConfig()
	encoding.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	encoding.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewConsoleEncoder(encoding)
	if l.settings.format == "json" {
		encoder = zapcore.NewJSONEncoder(encoding)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), l.level))
}
