package caddymodule

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/consent/redisstore"
)

func init() {
	caddy.RegisterModule(RedisStore{})
	redis.SetLogger(redisLog{})
}

// redisLog takes what the Redis client would print to the standard error to
// Caddy's log. It repeats at every attempt what linkLog tells once.
type redisLog struct{}

// Printf logs what the client has to say.
func (redisLog) Printf(_ context.Context, format string, v ...any) {
	if c := caddy.Log().Named("consent.redis").Check(zapcore.DebugLevel, "client"); c != nil {
		c.Write(zap.String("says", fmt.Sprintf(format, v...)))
	}
}

// RedisStore keeps the decisions of subjects in Redis 7.0 or newer: one server,
// one that sentinels look after, or a cluster. All gateways that share it see
// each other's writes within milliseconds.
//
// Nothing is read from replicas, since a replica may not have heard of a
// withdrawal yet. While Redis cannot be reached the gates fail closed, as their
// `on_store_error` says.
//
// A root secret and a token for the consent API must be given with this store,
// for several gateways have to agree on them.
type RedisStore struct {
	// The addresses as `host:port`: of the server, of some nodes of the cluster,
	// or of the sentinels. Placeholders are resolved.
	Addresses []string `json:"addresses,omitempty"`

	// The name of the ACL user. Placeholders such as `{env.REDIS_USER}` are
	// resolved.
	Username string `json:"username,omitempty"`

	// The password. Write a placeholder such as `{env.REDIS_PASSWORD}` or
	// `{file./run/secrets/redis}`, so that the password itself stands in no
	// configuration.
	Password string `json:"password,omitempty"`

	// The number of the database. A cluster has none but 0. Default: 0.
	DB int `json:"db,omitempty"`

	// Asks sentinels, whose addresses are given, for the master.
	Sentinel *RedisSentinel `json:"sentinel,omitempty"`

	// Whether the addresses are of a Redis Cluster.
	Cluster bool `json:"cluster,omitempty"`

	// Waits after each write until replicas have acknowledged it as well.
	Wait *RedisWait `json:"wait,omitempty"`

	// Encrypts every connection. Give an empty object for the defaults.
	TLS *RedisTLS `json:"tls,omitempty"`

	// How long connecting may take. Default: 500ms.
	DialTimeout caddy.Duration `json:"dial_timeout,omitempty"`

	// How long the answer to one command may take. Default: 400ms.
	ReadTimeout caddy.Duration `json:"read_timeout,omitempty"`

	// How long sending one command may take. Default: 400ms.
	WriteTimeout caddy.Duration `json:"write_timeout,omitempty"`

	// How many connections there are at most, to each node. Default: ten for
	// each processor.
	PoolSize int `json:"pool_size,omitempty"`

	config  redisstore.Config // resolved, with its secrets
	options redisstore.Options
}

// RedisSentinel names the master that sentinels look after.
type RedisSentinel struct {
	// The name of the master.
	Master string `json:"master,omitempty"`
	// The ACL user at the sentinels, where they ask for one.
	Username string `json:"username,omitempty"`
	// The password at the sentinels; write a placeholder.
	Password string `json:"password,omitempty"`
}

// RedisWait says how many replicas must acknowledge a write.
type RedisWait struct {
	// How many replicas.
	Replicas int `json:"replicas,omitempty"`
	// How long to wait for them. A write that fewer have acknowledged by then is
	// answered with an error, although it may have been applied.
	Timeout caddy.Duration `json:"timeout,omitempty"`
}

// RedisTLS says how the server proves who it is.
type RedisTLS struct {
	// A file of certificates, in PEM, of the authorities to trust instead of the
	// system's.
	CA string `json:"ca,omitempty"`
	// The name that the certificate must have. Default: the host of the address.
	ServerName string `json:"server_name,omitempty"`
	// Accepts any certificate: whoever is in between reads and changes
	// everything. For tests only.
	InsecureSkipVerify bool `json:"insecure_skip_verify,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (RedisStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  storeNamespace + ".redis",
		New: func() caddy.Module { return new(RedisStore) },
	}
}

// Provision resolves the placeholders. It does not connect.
func (s *RedisStore) Provision(caddy.Context) error {
	repl := caddy.NewReplacer()
	c := redisstore.Config{
		Username:     repl.ReplaceAll(s.Username, ""),
		Password:     repl.ReplaceAll(s.Password, ""),
		DB:           s.DB,
		Cluster:      s.Cluster,
		DialTimeout:  time.Duration(s.DialTimeout),
		ReadTimeout:  time.Duration(s.ReadTimeout),
		WriteTimeout: time.Duration(s.WriteTimeout),
		PoolSize:     s.PoolSize,
	}
	for _, a := range s.Addresses {
		if a = repl.ReplaceAll(a, ""); a != "" {
			c.Addresses = append(c.Addresses, a)
		}
	}
	if s.Sentinel != nil {
		c.Sentinel = &redisstore.Sentinel{
			Master:   repl.ReplaceAll(s.Sentinel.Master, ""),
			Username: repl.ReplaceAll(s.Sentinel.Username, ""),
			Password: repl.ReplaceAll(s.Sentinel.Password, ""),
		}
	}
	if s.TLS != nil {
		c.TLS = &redisstore.TLS{
			ServerName:         repl.ReplaceAll(s.TLS.ServerName, ""),
			CAFile:             repl.ReplaceAll(s.TLS.CA, ""),
			InsecureSkipVerify: s.TLS.InsecureSkipVerify,
		}
	}
	s.config, s.options = c, redisstore.Options{}
	if s.Wait != nil {
		s.options.Replicas = s.Wait.Replicas
		s.options.ReplicaTimeout = time.Duration(s.Wait.Timeout)
		// The wait is one command, whose answer takes as long as the wait.
		if c.ReadTimeout == 0 {
			s.config.ReadTimeout = s.options.ReplicaTimeout + 400*time.Millisecond
			s.options.Timeout = s.config.ReadTimeout + time.Second
		}
	}
	return nil
}

// Validate makes a client of the configuration, which does not connect, to see
// whether it is sound.
func (s *RedisStore) Validate() error {
	if len(s.config.Addresses) == 0 {
		return errors.New("store redis: no address; write `address host:6379`")
	}
	if w := s.Wait; w != nil && (w.Replicas < 1 || w.Timeout <= 0) {
		return errors.New("store redis: wait needs at least one replica and a timeout, as in `wait 1 500ms`")
	}
	if w := s.Wait; w != nil && s.ReadTimeout > 0 && w.Timeout >= s.ReadTimeout {
		return errors.New("store redis: the timeout of wait must be shorter than read_timeout")
	}
	client, err := redisstore.NewClient(s.config)
	if err != nil {
		return fmt.Errorf("store redis: %w", err)
	}
	return client.Close()
}

// Key implements StoreModule.
func (s *RedisStore) Key() string {
	b, err := json.Marshal(struct {
		C redisstore.Config
		R int
		T time.Duration
	}{s.config, s.options.Replicas, s.options.ReplicaTimeout})
	if err != nil {
		return "redis"
	}
	return fmt.Sprintf("redis:%x", sha256.Sum256(b))
}

// Dir implements StoreModule: there is no place for secrets made at first start.
func (s *RedisStore) Dir() string { return "" }

// Open implements StoreModule.
func (s *RedisStore) Open(report func(error)) (consent.Store, error) {
	client, err := redisstore.NewClient(s.config)
	if err != nil {
		return nil, err
	}
	options := s.options
	options.Report = report
	return redisstore.New(client, options), nil
}

// Interface guards
var (
	_ caddy.Provisioner = (*RedisStore)(nil)
	_ caddy.Validator   = (*RedisStore)(nil)
	_ StoreModule       = (*RedisStore)(nil)
)
