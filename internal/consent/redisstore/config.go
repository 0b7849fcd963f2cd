package redisstore

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Config says where Redis is and how to reach it. [NewClient] makes a client of
// it. The zero value of every field but Addresses is a good one.
type Config struct {
	// Addresses are HOST:PORT: of the server, or seeds of the cluster, or of the
	// sentinels.
	Addresses []string
	// Username and Password of an ACL user; see [ACL].
	Username string
	Password string
	// DB is the number of the database; 0 with a cluster.
	DB int
	// TLS, when not nil, encrypts every connection, those to sentinels too.
	TLS *TLS
	// Sentinel, when not nil, asks sentinels for the master.
	Sentinel *Sentinel
	// Cluster says that the addresses are of a Redis Cluster.
	Cluster bool

	// Timeouts of one attempt. An operation is tried at most twice, so that a
	// server that hangs is an error within about a second. Defaults: 500 ms to
	// connect, 400 ms to read and to write.
	DialTimeout  time.Duration
	ReadTimeout  time.Duration
	WriteTimeout time.Duration
	// PoolSize is how many connections there are at most, for each node.
	// Default: ten for each processor.
	PoolSize int
	// MinIdle is how many are kept open. Default: 0.
	MinIdle int
}

// TLS says how a server proves who it is.
type TLS struct {
	// ServerName is the name that the certificate must have. Default: the host
	// of the address.
	ServerName string
	// CAFile holds the certificates, in PEM, of the authorities to trust instead
	// of the system's.
	CAFile string
	// InsecureSkipVerify accepts any certificate: whoever is in between reads
	// and changes everything. For tests only.
	InsecureSkipVerify bool
}

// Sentinel names the master that the sentinels look after. User and password are
// those of the sentinels themselves, where they ask for one.
type Sentinel struct {
	Master   string
	Username string
	Password string
}

// NewClient makes a client that reads from masters only, with bounded timeouts.
// It does not connect.
func NewClient(c Config) (redis.UniversalClient, error) {
	switch {
	case len(c.Addresses) == 0:
		return nil, errors.New("redis: no address")
	case c.Cluster && c.Sentinel != nil:
		return nil, errors.New("redis: cluster and sentinel exclude each other")
	case c.Cluster && c.DB != 0:
		return nil, errors.New("redis: a cluster has no database but 0")
	case c.Sentinel != nil && c.Sentinel.Master == "":
		return nil, errors.New("redis: sentinel needs the name of the master")
	case len(c.Addresses) > 1 && !c.Cluster && c.Sentinel == nil:
		return nil, errors.New("redis: several addresses are those of a cluster or of sentinels: say which")
	case c.DB < 0 || c.PoolSize < 0 || c.MinIdle < 0 || c.DialTimeout < 0 || c.ReadTimeout < 0 || c.WriteTimeout < 0:
		return nil, errors.New("redis: a number or timeout is negative")
	}
	o := &redis.UniversalOptions{
		Addrs:         c.Addresses,
		ClientName:    "consentgate",
		Username:      c.Username,
		Password:      c.Password,
		DB:            c.DB,
		IsClusterMode: c.Cluster,

		DialTimeout:           orDefault(c.DialTimeout, 500*time.Millisecond),
		ReadTimeout:           orDefault(c.ReadTimeout, 400*time.Millisecond),
		WriteTimeout:          orDefault(c.WriteTimeout, 400*time.Millisecond),
		PoolTimeout:           500 * time.Millisecond,
		ContextTimeoutEnabled: true,
		MaxRetries:            1,
		MinRetryBackoff:       8 * time.Millisecond,
		MaxRetryBackoff:       50 * time.Millisecond,
		DialerRetries:         1,

		PoolSize:         c.PoolSize,
		MinIdleConns:     c.MinIdle,
		PipelinePoolSize: -1, // one pool is enough

		// Either is a command at connecting that the documented users may not
		// run, and that says nothing anyone needs.
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if c.Sentinel != nil {
		o.MasterName = c.Sentinel.Master
		o.SentinelUsername = c.Sentinel.Username
		o.SentinelPassword = c.Sentinel.Password
	}
	if c.TLS != nil {
		var err error
		if o.TLSConfig, err = c.TLS.config(); err != nil {
			return nil, err
		}
	}
	if c.Cluster {
		// By those policies the client would ask the server for its table of
		// commands before each command, for as long as it may not.
		co := o.Cluster()
		co.DisableRoutingPolicies = true
		return redis.NewClusterClient(co), nil
	}
	return redis.NewUniversalClient(o), nil
}

func (t *TLS) config() (*tls.Config, error) {
	c := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         t.ServerName,
		InsecureSkipVerify: t.InsecureSkipVerify,
	}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("redis: the certificates of the authorities: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("redis: %s holds no certificate in PEM", t.CAFile)
		}
	}
	return c, nil
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}
