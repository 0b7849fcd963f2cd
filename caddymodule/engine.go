package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/consentgate/consentgate/internal/consent"
)

var (
	// engines are those in use, by App.engineKey.
	engines = caddy.NewUsagePool()
	// openStores are the stores in use, by StoreModule.Key. Two engines share
	// one where configurations that differ in something else overlap: an
	// embedded store can be opened only once.
	openStores = caddy.NewUsagePool()
	// generations counts the policies that this process has read.
	generations atomic.Uint64
)

// pollEvery is how often the policy's files are looked at.
const pollEvery = 2 * time.Second

// engine is what outlives a configuration: an open store, what is cached of
// it, the policy in force, and the goroutines that keep them true.
type engine struct {
	secret     []byte
	derived    sync.Map // of it, by use: what derivedKey has returned
	identifier *consent.Identifier
	service    *consent.Service
	cache      *consent.Cache[Verdict]
	current    atomic.Pointer[Current]
	storeKey   string

	mu     sync.Mutex // guards source, apps, outbox and changes of current
	source *policySource
	apps   map[*App]struct{}
	outbox *Outbox // nil: nothing is forwarded

	cancel context.CancelFunc
	done   sync.WaitGroup
}

// newEngine opens the store and starts to watch it and the policy.
func newEngine(module StoreModule, secret []byte, caching *Caching, source *policySource, cur *Current) (*engine, error) {
	secret, err := rootSecret(module, secret)
	if err != nil {
		return nil, err
	}
	identifier, err := consent.NewIdentifier(secret)
	if err != nil {
		return nil, err
	}
	key := module.Key()
	val, _, err := openStores.LoadOrNew(key, func() (caddy.Destructor, error) {
		link := &linkLog{says: "the link to the consent store is down; gates fail closed while it cannot be read"}
		s, err := module.Open(link.report)
		if err != nil {
			return nil, err
		}
		return openStore{s}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("opening the consent store: %w", err)
	}
	other := &linkLog{says: "nothing is read from the consent store or written to it: gates fail closed"}
	store := consent.Bind(val.(openStore).Store, identifier.Check(), other.report)
	if module.Dir() != "" {
		// Here and now: no server has to answer first.
		if err := store.Ping(context.Background()); err != nil {
			_, release := openStores.Delete(key)
			return nil, errors.Join(fmt.Errorf("the consent store in %s: %w", module.Dir(), err), release)
		}
	}

	e := &engine{
		secret: secret, identifier: identifier, storeKey: key, source: source, apps: map[*App]struct{}{},
	}
	e.current.Store(cur)
	options := consent.CacheOptions{}
	if caching != nil {
		options.Capacity, options.Lease = caching.Capacity, time.Duration(caching.Lease)
	}
	e.cache = consent.NewCache(store, options, e.verdict)
	e.service = consent.NewService(store, func() consent.Policy { return e.current.Load().Policy },
		identifier, time.Now, e.cache.Forget)

	ctx, cancel := context.WithCancel(context.Background())
	e.cancel = cancel
	e.done.Go(func() { e.watchStore(ctx) })
	e.done.Go(func() { e.watchPolicy(ctx) })
	return e, nil
}

// rootSecret returns the secret that was given, or the one beside the data.
func rootSecret(module StoreModule, given []byte) ([]byte, error) {
	if given != nil {
		return given, nil
	}
	dir := module.Dir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the directory of the consent store: %w", err)
	}
	path := filepath.Join(dir, secretFile)
	if m, ok := module.(interface{ HasData() bool }); ok && m.HasData() {
		secret, ok, err := readSecretFile(path)
		if err == nil && !ok {
			err = fmt.Errorf("%s holds decisions, but the root secret that they were recorded under is neither given nor in %s; give it with `secret`, or restore the file. A new secret would know none of the subjects", dir, path)
		}
		return secret, err
	}
	secret, made, err := readOrMakeSecretFile(path)
	if err != nil {
		return nil, fmt.Errorf("the root secret: %w", err)
	}
	if made {
		caddy.Log().Named("consent").Info("made a root secret; back it up with the data, which mean nothing without it", zap.String("file", path))
	}
	return secret, nil
}

// verdict is what a state comes to under the policy in force.
func (e *engine) verdict(s consent.State) (Verdict, time.Time) {
	cur := e.current.Load()
	permits, until := cur.Policy.Permits(&s, time.Now())
	return Verdict{Permits: permits, Salt: s.Salt, Known: s.Known(), Of: cur}, until
}

// Destruct implements caddy.Destructor.
func (e *engine) Destruct() error {
	e.cancel()
	e.done.Wait()
	_, err := openStores.Delete(e.storeKey)
	return errors.Join(err, e.closeOutbox())
}

// watchStore keeps the cache true until ctx ends. While the store cannot be
// watched, the cache serves nothing.
func (e *engine) watchStore(ctx context.Context) {
	const longest = 30 * time.Second
	for wait := time.Second; ; wait = min(2*wait, longest) {
		err := e.cache.Run(ctx)
		if ctx.Err() != nil || errors.Is(err, consent.ErrClosed) {
			return
		}
		caddy.Log().Named("consent").Error("watching the consent store ended; until it works again every request asks the store",
			zap.Error(err), zap.Duration("next_try", wait))
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// openStore is a store in the pool.
type openStore struct{ consent.Store }

// Destruct implements caddy.Destructor.
func (s openStore) Destruct() error { return s.Close() }

// linkLog logs why a store cannot be used: at once, and then as often as an
// operator can bear.
type linkLog struct {
	says string // what that means

	mu   sync.Mutex
	last time.Time
	wait time.Duration
}

func (l *linkLog) report(err error) {
	const shortest, longest = 5 * time.Second, 5 * time.Minute
	l.mu.Lock()
	defer l.mu.Unlock()
	since := time.Since(l.last)
	if since < l.wait {
		return
	}
	if l.wait = min(2*l.wait, longest); l.wait == 0 || since > longest {
		l.wait = shortest
	}
	l.last = time.Now()
	caddy.Log().Named("consent").Warn(l.says, zap.Error(err))
}

// Interface guards
var (
	_ caddy.Destructor = (*engine)(nil)
	_ caddy.Destructor = openStore{}
)
