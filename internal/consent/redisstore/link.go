package redisstore

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/push"

	"github.com/consentgate/consentgate/internal/consent"
)

// prefixProbe begins the keys, and the channels, of the watchers' probes. Each
// watcher has names of its own below it, and is told only of those.
const prefixProbe = "consent:probe:"

const idLength = 22

// link is one connection that hears of changes, by tracking or by announcements.
// One goroutine reads from it, without a deadline: a deadline that passed in the
// middle of a message would leave the rest of it to be taken for another. That
// the server has fallen silent is for the watching loop to see, which then closes
// the connection.
type link struct {
	store   *Store
	changed func(consent.ID)
	reset   func(down bool)

	client *redis.Client // dedicated; nil without tracking
	sub    *redis.PubSub
	name   string // of its probes: prefixProbe, a random part, ':'

	start      time.Time
	lastHeard  atomic.Int64  // since start
	subscribed chan struct{} // once: both channels are confirmed
	heardProbe chan int
	failed     chan error
	reader     sync.WaitGroup

	mu sync.Mutex // orders what is reported: the last reset must be the true one
	up bool
}

func newLink(s *Store, changed func(consent.ID), reset func(bool)) *link {
	return &link{
		store:      s,
		changed:    changed,
		reset:      reset,
		name:       prefixProbe + rand.Text() + ":",
		start:      time.Now(),
		subscribed: make(chan struct{}, 1),
		heardProbe: make(chan int, 4),
		failed:     make(chan error, 1),
	}
}

// open connects and starts to read.
func (l *link) open(ctx context.Context) error {
	l.client = l.store.dedicated("consent:{", l.name)
	if l.client != nil {
		if err := l.client.RegisterPushNotificationHandler("invalidate", l, false); err != nil {
			return err
		}
		l.sub = l.client.Subscribe(ctx)
	} else {
		l.sub = l.store.client.Subscribe(ctx)
	}
	if err := l.sub.Subscribe(ctx, ChannelChanged, l.name); err != nil {
		return err
	}
	l.hear()
	l.reader.Go(func() { l.read(ctx) })
	return nil
}

// close ends the connection and waits for the reader: nothing is reported after.
func (l *link) close() {
	if l.sub != nil {
		_ = l.sub.Close()
	}
	if l.client != nil {
		_ = l.client.Close()
	}
	l.reader.Wait()
}

func (l *link) heard() time.Time { return l.start.Add(time.Duration(l.lastHeard.Load())) }
func (l *link) hear()            { l.lastHeard.Store(int64(time.Since(l.start))) }

func (l *link) read(ctx context.Context) {
	confirmed := 0
	for {
		m, err := l.sub.ReceiveTimeout(ctx, 0)
		if err != nil {
			l.failed <- err
			return
		}
		l.hear()
		switch m := m.(type) {
		case *redis.Subscription:
			if confirmed++; confirmed == 2 {
				l.subscribed <- struct{}{}
			}
		case *redis.Message:
			switch m.Channel {
			case ChannelChanged:
				l.changedID(m.Payload)
			case l.name:
				l.probeHeard(m.Payload)
			}
		}
	}
}

// HandlePushNotification takes what tracking reports: the keys that changed, or
// nothing when all of them did.
func (l *link) HandlePushNotification(_ context.Context, _ push.NotificationHandlerContext, message []any) error {
	l.hear()
	var keys []any
	if len(message) == 2 {
		keys, _ = message[1].([]any)
	}
	if keys == nil {
		l.missed()
		return nil
	}
	for _, k := range keys {
		key, ok := k.(string)
		if !ok {
			l.missed()
			continue
		}
		if nonce, ok := strings.CutPrefix(key, l.name); ok {
			l.probeHeard(nonce)
		} else if rest, ok := strings.CutPrefix(key, "consent:{"); ok {
			// The ledger and the idempotency keys change with the state.
			if id, ok := strings.CutSuffix(rest, "}:state"); ok {
				l.changedID(id)
			}
		}
	}
	return nil
}

// changedID reports a change. What is no ID stands for a change of whom nobody
// knows.
func (l *link) changedID(id string) {
	if len(id) != idLength {
		l.missed()
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.up { // before, nothing is cached
		l.changed(consent.ID(id))
	}
}

// missed resets a link that is up, and leaves one that is not as it is.
func (l *link) missed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.up {
		l.reset(false)
	}
}

// setUp reports that the link is up or down, where it was not.
func (l *link) setUp(up bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.up != up {
		l.up = up
		l.reset(!up)
	}
}

func (l *link) probeHeard(nonce string) {
	n, err := strconv.Atoi(nonce)
	if err != nil {
		return
	}
	select {
	case l.heardProbe <- n:
	default: // one probe is awaited at a time; the others are late
	}
}

// probe has the server say something on this link by the way that commits take:
// through the pool's connections, to whatever they hold for the master.
func (l *link) probe(ctx context.Context, nonce int, done chan<- error) {
	ctx, cancel := context.WithTimeout(ctx, l.store.opts.Timeout)
	defer cancel()
	n := strconv.Itoa(nonce)
	var err error
	if l.client != nil {
		err = l.store.client.Set(ctx, l.name+n, "", 10*time.Second).Err()
	} else {
		err = l.store.client.Publish(ctx, l.name, n).Err()
	}
	select {
	case done <- err:
	case <-ctx.Done(): // the link was given up
	}
}
