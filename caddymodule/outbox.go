package caddymodule

import (
	"errors"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	bolt "go.etcd.io/bbolt"

	"github.com/consentgate/consentgate/internal/boltfile"
	"github.com/consentgate/consentgate/internal/consent/redisstore"
	"github.com/consentgate/consentgate/internal/kanon"
	"github.com/consentgate/consentgate/internal/kanon/boltcounter"
	"github.com/consentgate/consentgate/internal/kanon/rediscounter"
	"github.com/consentgate/consentgate/internal/outbox"
	"github.com/consentgate/consentgate/internal/outbox/boltqueue"
	"github.com/consentgate/consentgate/internal/outbox/redisqueue"
)

// OutboxModule is a store whose engine also keeps what is on its way to
// partners.
type OutboxModule interface {
	StoreModule
	// OpenOutbox opens it. It does not wait for a server to answer.
	OpenOutbox() (*Outbox, error)
}

// Outbox is what one engine keeps for partners.
type Outbox struct {
	Queue outbox.Queue
	// Counter counts who shows which combination of quasi-identifiers.
	Counter kanon.Counter

	close func() error
}

// Destruct implements caddy.Destructor.
func (o *Outbox) Destruct() error { return errors.Join(o.Queue.Close(), o.close()) }

// openOutboxes are those in use, by StoreModule.Key.
var openOutboxes = caddy.NewUsagePool()

// Files beside the embedded store's.
const (
	outboxFile = "outbox.db"
	kanonFile  = "kanon.db"
)

// OpenOutbox implements OutboxModule. The outbox and the counts of k-anonymity have
// files of their own, so that none of them waits for another's writes.
func (s *EmbeddedStore) OpenOutbox() (*Outbox, error) {
	queue, err := boltqueue.Open(filepath.Join(s.dir, outboxFile), boltqueue.Options{})
	if err != nil {
		return nil, err
	}
	file, err := boltfile.Open(filepath.Join(s.dir, kanonFile), boltfile.Options{}, func(*bolt.Tx) error { return nil })
	if err != nil {
		return nil, errors.Join(err, queue.Close())
	}
	counter, err := boltcounter.New(file, boltcounter.Options{})
	if err != nil {
		return nil, errors.Join(err, queue.Close(), file.Close())
	}
	return &Outbox{Queue: queue, Counter: counter, close: file.Close}, nil
}

// outboxOptions are those of outboxes in Redis that no configuration sets: the
// defaults, but for tests that cannot wait until a lease has expired.
var outboxOptions redisqueue.Options

// OpenOutbox implements OutboxModule.
func (s *RedisStore) OpenOutbox() (*Outbox, error) {
	client, err := redisstore.NewClient(s.config)
	if err != nil {
		return nil, err
	}
	counter, err := rediscounter.New(client, rediscounter.Options{})
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	options := outboxOptions
	options.Replicas, options.ReplicaTimeout, options.Timeout = s.options.Replicas, s.options.ReplicaTimeout, s.options.Timeout
	queue := redisqueue.New(client, options)
	return &Outbox{Queue: queue, Counter: counter, close: client.Close}, nil
}

// openOutbox opens the outbox of the engine's store, or returns the open one.
func (e *engine) openOutbox(module StoreModule) (*Outbox, error) {
	opener, ok := module.(OutboxModule)
	if !ok {
		return nil, errors.New("this store keeps no outbox, so nothing can be forwarded: write `store redis` or `store embedded`")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.outbox != nil {
		return e.outbox, nil
	}
	val, _, err := openOutboxes.LoadOrNew(e.storeKey, func() (caddy.Destructor, error) { return opener.OpenOutbox() })
	if err != nil {
		return nil, err
	}
	e.outbox = val.(*Outbox)
	return e.outbox, nil
}

// closeOutbox gives up the engine's reference on its outbox.
func (e *engine) closeOutbox() error {
	if e.outbox == nil {
		return nil
	}
	_, err := openOutboxes.Delete(e.storeKey)
	return err
}

// Interface guards
var (
	_ OutboxModule     = (*EmbeddedStore)(nil)
	_ OutboxModule     = (*RedisStore)(nil)
	_ caddy.Destructor = (*Outbox)(nil)
)
