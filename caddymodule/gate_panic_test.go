package caddymodule

import (
	"errors"
	"io"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// A transport reads a stream, and a proxy copies messages, in goroutines where the
// server catches no panic: it ends what it came of, and not the gateway. What it
// says is told to nobody. The gate here has no policy, which is one.
func TestAPanicEndsWhatItCameOf(t *testing.T) {
	core, told := observer.New(zap.InfoLevel)
	j := judge{g: &Gate{logger: zap.New(core)}}
	s := &lineStream{judge: j, decoder: io.NopCloser(strings.NewReader("{}\n"))}
	if n, err := s.Read(make([]byte, 8)); n != 0 || err == nil || s.problem == nil || s.problem.Status != 400 {
		t.Errorf("a stream: %d, %v", n, err)
	}
	v := &visit{judge: j}
	if out, err := v.fromClient(true, []byte(`{"imei":"canary"}`)); out != nil || !errors.Is(err, errRefused) {
		t.Errorf("a message: %s, %v", out, err)
	}
	if told.Len() != 2 || told.FilterFieldKey("type").Len() != 2 {
		t.Errorf("the log: %v", told.All())
	}
}
