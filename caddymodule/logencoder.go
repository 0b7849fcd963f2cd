package caddymodule

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/logging"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"
)

func init() {
	caddy.RegisterModule(LogEncoder{})
}

// LogEncoder takes personal data out of log entries before another encoder
// writes them. Caddy copies each request for its logs before any handler runs,
// so a gate cannot clean what the logs show: this encoder does.
//
// Of a request it keeps the method, the host, the path, the protocol and the
// parameters of TLS. Addresses, ports, the query, headers, client certificates
// and whatever else may be added to a request are left out. Response headers
// and user ids are left out. Subject ids in the paths of the consent API are
// replaced by `{id}`. In messages and errors, the query of a URL and its
// password, and IP addresses other than those dialled or listened on, are
// replaced by `…`. Loopback addresses stay.
//
// The access and error logs of HTTP servers carry no other fields than Caddy's
// own: what `log_append` and plugins add is left out too, unless `keep` names
// it. What the configuration itself puts into the text of an error, as
// `error "{query.id}"` would, is a text like any other and stays: never do that.
type LogEncoder struct {
	// The encoder that writes the entries. Default: `json`, or `console` where
	// the output is a terminal.
	WrappedRaw json.RawMessage `json:"wrap,omitempty" caddy:"namespace=caddy.logging.encoders inline_key=format"`

	// The names of fields that access and error logs may carry besides Caddy's
	// own, for instance one that `log_append` adds. Name only fields that never
	// hold personal data: their values are written as they are, save for what
	// is taken out of every text.
	Keep []string `json:"keep,omitempty"`

	scrubber         `json:"-"`
	wrapped          zapcore.Encoder
	wrappedIsDefault bool
	ctx              caddy.Context
}

// CaddyModule returns the Caddy module information.
func (LogEncoder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "caddy.logging.encoders.consent",
		New: func() caddy.Module { return new(LogEncoder) },
	}
}

// Provision loads the encoder that this one wraps.
func (e *LogEncoder) Provision(ctx caddy.Context) error {
	e.ctx = ctx
	if e.WrappedRaw == nil {
		e.wrappedIsDefault = true
		return e.wrapDefault(&logging.JSONEncoder{})
	}
	mod, err := ctx.LoadModule(e, "WrappedRaw")
	if err != nil {
		return fmt.Errorf("loading the wrapped log encoder: %w", err)
	}
	enc, ok := mod.(zapcore.Encoder)
	if !ok {
		return fmt.Errorf("module %T is no log encoder", mod)
	}
	e.wrap(enc)
	return nil
}

// ConfigureDefaultFormat chooses the console format where the writer is a
// terminal and no format was asked for.
func (e *LogEncoder) ConfigureDefaultFormat(wo caddy.WriterOpener) error {
	if !e.wrappedIsDefault {
		if cfd, ok := e.wrapped.(caddy.ConfiguresFormatterDefault); ok {
			return cfd.ConfigureDefaultFormat(wo)
		}
		return nil
	}
	if caddy.IsWriterStandardStream(wo) && term.IsTerminal(int(os.Stderr.Fd())) {
		return e.wrapDefault(&logging.ConsoleEncoder{})
	}
	return nil
}

func (e *LogEncoder) wrapDefault(enc interface {
	zapcore.Encoder
	caddy.Provisioner
}) error {
	if err := enc.Provision(e.ctx); err != nil {
		return fmt.Errorf("provisioning the default log encoder: %w", err)
	}
	e.wrap(enc)
	return nil
}

func (e *LogEncoder) wrap(enc zapcore.Encoder) {
	e.wrapped = enc
	e.scrubber = scrubber{out: enc}
}

// Clone implements zapcore.Encoder.
func (e *LogEncoder) Clone() zapcore.Encoder {
	c := &LogEncoder{Keep: e.Keep}
	c.wrap(e.wrapped.Clone())
	return c
}

// EncodeEntry implements zapcore.Encoder.
func (e *LogEncoder) EncodeEntry(ent zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	enc := e.wrapped.Clone()
	s := &scrubber{out: enc}
	serverLog := strings.HasPrefix(ent.LoggerName, "http.log.")
	for _, f := range fields {
		if serverLog && !slices.Contains(serverLogFields, f.Key) && !slices.Contains(e.Keep, f.Key) {
			continue
		}
		f.AddTo(s)
	}
	ent.Message = scrubText(withholdPanic(ent.Message))
	return enc.EncodeEntry(ent, nil)
}

// serverLogFields are the fields of Caddy's own access and error logs that say
// nothing of the person. The empty key is that of a namespace or of inlined
// fields.
var serverLogFields = []string{
	"", "bytes_read", "duration", "size", "status", "error", "write_error",
	"err_id", "err_trace", "first_error", "msg", "method", "request",
}

// Interface guards
var (
	_ caddy.Provisioner                = (*LogEncoder)(nil)
	_ caddy.ConfiguresFormatterDefault = (*LogEncoder)(nil)
	_ zapcore.Encoder                  = (*LogEncoder)(nil)
)
