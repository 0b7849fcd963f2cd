package redisstore

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestNewClientRefuses(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := []string{"127.0.0.1:1"}
	for want, c := range map[string]Config{
		"no address":           {},
		"exclude":              {Addresses: at, Cluster: true, Sentinel: &Sentinel{Master: "m"}},
		"no database but 0":    {Addresses: at, Cluster: true, DB: 1},
		"name of the master":   {Addresses: at, Sentinel: &Sentinel{}},
		"say which":            {Addresses: []string{"a:1", "b:1"}},
		"negative":             {Addresses: at, ReadTimeout: -1},
		"holds no certificate": {Addresses: at, TLS: &TLS{CAFile: empty}},
		"no such file":         {Addresses: at, TLS: &TLS{CAFile: empty + "x"}},
	} {
		if _, err := NewClient(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v", want, err)
		}
	}
}

func TestNewClientIsBoundedAndReadsMasters(t *testing.T) {
	c, err := NewClient(Config{Addresses: []string{"127.0.0.1:1"}, Username: "u", Password: "p", DB: 3, TLS: &TLS{ServerName: "redis.example"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	o := c.(*redis.Client).Options()
	if o.DialTimeout > time.Second || o.ReadTimeout > 500*time.Millisecond || o.WriteTimeout > 500*time.Millisecond || !o.ContextTimeoutEnabled || o.MaxRetries != 1 {
		t.Errorf("timeouts: %v %v %v %t, retries %d", o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.ContextTimeoutEnabled, o.MaxRetries)
	}
	if o.Username != "u" || o.Password != "p" || o.DB != 3 || o.PipelinePoolSize != -1 {
		t.Errorf("user %q, db %d, second pool %d", o.Username, o.DB, o.PipelinePoolSize)
	}
	if o.TLSConfig == nil || o.TLSConfig.ServerName != "redis.example" || o.TLSConfig.InsecureSkipVerify {
		t.Error("TLS is not as configured")
	}

	cc, err := NewClient(Config{Addresses: []string{"127.0.0.1:1", "127.0.0.1:2"}, Cluster: true})
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	if o := cc.(*redis.ClusterClient).Options(); o.ReadOnly || o.RouteByLatency || o.RouteRandomly {
		t.Error("a cluster client that reads from replicas")
	}
}
