package deliver

import (
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
)

// quiet is how long nothing is said again of what was said: a partner that is
// down for a night is not a line a second.
const quiet = 10 * time.Minute

// lines are those that a delivery writes to the log.
type lines struct {
	log *zap.Logger

	mu     sync.Mutex
	last   map[string]time.Time // when a kind of line was written; there are few kinds
	unsaid map[string]int       // what was not written since
	down   time.Time            // when the first attempt failed that a line was written of; zero: none
}

// due reports whether a line of a kind may be written, and how much was not
// written since the last one. The lock is held.
func (l *lines) due(kind string, n int) (unsaid int, due bool) {
	if l.last == nil {
		l.last, l.unsaid = map[string]time.Time{}, map[string]int{}
	}
	now := time.Now()
	if at, said := l.last[kind]; said && now.Sub(at) < quiet {
		l.unsaid[kind] += n
		return 0, false
	}
	unsaid = l.unsaid[kind]
	l.last[kind], l.unsaid[kind] = now, 0
	return unsaid, true
}

// failed tells of an attempt that will be repeated.
func (l *lines) failed(a answer, host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	unsaid, due := l.due(string(a.reason), 1)
	if !due {
		return
	}
	if l.down.IsZero() {
		l.down = time.Now()
	}
	fields := []zap.Field{zap.String("reason", string(a.reason)), zap.Int("unsaid", unsaid)}
	if host != "" {
		fields = append(fields, zap.String("host", host))
	}
	if a.status != 0 {
		fields = append(fields, zap.Int("status", a.status))
	}
	if a.detail != "" {
		fields = append(fields, zap.String("error", a.detail))
	}
	l.log.Warn("records wait for a partner", fields...)
}

// recovered tells that the partner takes records again, if a line said that it
// did not.
func (l *lines) recovered() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down.IsZero() {
		return
	}
	if _, due := l.due("recovered", 1); due {
		l.log.Info("the partner takes records", zap.Duration("after", time.Since(l.down)))
	}
	l.down = time.Time{}
}

// panicked tells of a panic: its type, since its text may hold anything.
func (l *lines) panicked(v any, stack []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, due := l.due("panicked", 1); due {
		l.log.Error("the recheck panicked", zap.String("type", fmt.Sprintf("%T", v)), zap.ByteString("stack", stack))
	}
}

// dead tells of dead letters.
func (l *lines) dead(records, status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if unsaid, due := l.due("dead", records); due {
		l.log.Error("records became dead letters", zap.Int("records", records+unsaid), zap.Int("status", status))
	}
}
