package redisstore

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/consent/redistest"
)

func TestAFailoverIsSurvived(t *testing.T) {
	master := redistest.Start(t, "repl-diskless-sync-delay", "0")
	host, port, _ := net.SplitHostPort(master.Addr)
	redistest.Start(t, "replicaof", host+" "+port)
	sentinel := redistest.StartSentinel(t, "consent", master)
	// A replica that has just begun to follow may take its time.
	s := openStore(t, Config{Addresses: []string{sentinel.Addr}, Sentinel: &Sentinel{Master: "consent"}, ReadTimeout: 3 * time.Second},
		Options{Replicas: 1, ReplicaTimeout: 2 * time.Second, Timeout: 4 * time.Second})
	id := testID("u")
	op := admin(t, sentinel.Addr)
	eventually(t, 20*time.Second, "the sentinel knows the replica", func() bool {
		return strings.Contains(op.Info(t.Context(), "sentinel").Val(), "slaves=1") &&
			online(t, admin(t, master.Addr))
	})
	want := decide(t, s, id, consent.Withdrawn)
	cache := node(t, s, time.Hour)
	cached(t, cache, id)

	master.Stop()
	eventually(t, time.Second, "the watcher is down", func() bool { return !cache.Stats().Watching })
	eventually(t, 30*time.Second, "the watcher is up, at the new master", func() bool { return cache.Stats().Watching })
	got := load(t, s, id)
	if got.Version != want.Version || got.Head != want.Head {
		t.Errorf("version %d after the failover, %d was acknowledged", got.Version, want.Version)
	}
	// The new master has no replica: written, and not acknowledged.
	if err := s.Commit(t.Context(), decision(t, id, got, consent.Granted)); !errors.Is(err, ErrUncertain) {
		t.Errorf("Commit: %v", err)
	}
	eventually(t, 5*time.Second, "the write is noticed", func() bool { return version(t, cache, id) == 2 })
}

func TestAClusterKeepsTheChainOfEachSubject(t *testing.T) {
	servers := redistest.StartCluster(t, 3)
	c := Config{Addresses: []string{servers[0].Addr, servers[1].Addr}, Cluster: true}
	s := openStore(t, c, Options{})
	cache := node(t, openStore(t, c, Options{}), time.Hour)

	ids := make([]consent.ID, 30)
	for i := range ids {
		ids[i] = testID(fmt.Sprint("u", i))
		for range 3 {
			decide(t, s, ids[i], consent.Granted)
		}
	}
	states, err := s.Load(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range ids {
		if states[i].Version != 3 || len(chain(t, s, id)) != 3 {
			t.Errorf("subject %d: version %d", i, states[i].Version)
		}
		if err := s.Commit(t.Context(), decision(t, id, consent.State{}, consent.Granted)); !errors.Is(err, consent.ErrConflict) {
			t.Errorf("subject %d: a write on an old state: %v", i, err)
		}
	}
	for _, srv := range servers {
		if n := admin(t, srv.Addr).DBSize(t.Context()).Val(); n == 0 {
			t.Errorf("the node %s has no subject", srv.Addr)
		}
	}

	// WAIT goes to the node that has the subject. There are no replicas here.
	waits := openStore(t, c, Options{Replicas: 1, ReplicaTimeout: time.Millisecond})
	for i, id := range ids[:6] {
		cached(t, cache, id)
		w := decision(t, id, states[i], consent.Withdrawn)
		w.IdempotencyKey = "k"
		if err := waits.Commit(t.Context(), w); !errors.Is(err, ErrUncertain) || !strings.Contains(err.Error(), "0 of 1") {
			t.Errorf("subject %d: %v", i, err)
		}
		eventually(t, 5*time.Second, "the write is noticed", func() bool { return version(t, cache, id) == 4 })
		if _, ok, err := s.Seen(t.Context(), id, "k"); err != nil || !ok {
			t.Errorf("subject %d: Seen: %t, %v", i, ok, err)
		}
	}
}

// The slots move while the client does not look.
func TestASlotThatMovedIsFollowed(t *testing.T) {
	servers := redistest.StartCluster(t, 3)
	c := Config{Addresses: []string{servers[0].Addr}, Cluster: true}
	for name, o := range map[string]Options{"without replicas": {}, "with replicas": {Replicas: 1, ReplicaTimeout: time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, c, o)
			id := testID(name)
			commit := func(w consent.Write) {
				t.Helper()
				err := s.Commit(t.Context(), w)
				if err != nil && (o.Replicas == 0 || !strings.Contains(err.Error(), "0 of 1")) {
					t.Fatal(err)
				}
			}
			w := decision(t, id, consent.State{}, consent.Granted)
			commit(w)
			slot := admin(t, servers[0].Addr).ClusterKeySlot(t.Context(), stateKey(id)).Val()
			from, to := owner(t, servers, slot)
			moveSlot(t, servers, slot, from, to, stateKey(id), ledgerKey(id))
			commit(decision(t, id, w.Next, consent.Withdrawn))
			if n := len(chain(t, s, id)); n != 2 {
				t.Errorf("%d entries, want 2", n)
			}
		})
	}
}

// owner returns the server of a slot, and another.
func owner(t *testing.T, servers []*redistest.Server, slot int64) (has, other *redistest.Server) {
	for _, srv := range servers {
		own := false
		//nolint:staticcheck // servers before Redis 7 have no CLUSTER SHARDS
		for _, r := range admin(t, srv.Addr).ClusterSlots(t.Context()).Val() {
			own = own || int64(r.Start) <= slot && slot <= int64(r.End) && r.Nodes[0].Addr == srv.Addr
		}
		if own {
			has = srv
		} else {
			other = srv
		}
	}
	return has, other
}

func moveSlot(t *testing.T, servers []*redistest.Server, slot int64, from, to *redistest.Server, keys ...string) {
	do := func(srv *redistest.Server, args ...any) {
		t.Helper()
		if err := admin(t, srv.Addr).Do(t.Context(), args...).Err(); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
	}
	nodeID := func(srv *redistest.Server) string {
		id, err := admin(t, srv.Addr).Do(t.Context(), "cluster", "myid").Text()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	host, port, _ := net.SplitHostPort(to.Addr)
	do(to, "cluster", "setslot", slot, "importing", nodeID(from))
	do(from, "cluster", "setslot", slot, "migrating", nodeID(to))
	for _, k := range keys {
		do(from, "migrate", host, port, k, 0, 1000)
	}
	for _, srv := range []*redistest.Server{to, from} {
		do(srv, "cluster", "setslot", slot, "node", nodeID(to))
	}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	ca, cert, key := certificates(t, dir, "redis.example")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	l.Close()
	redistest.Start(t, "tls-port", port, "tls-cert-file", cert, "tls-key-file", key, "tls-ca-cert-file", ca, "tls-auth-clients", "no")

	s := openStore(t, Config{Addresses: []string{addr}, TLS: &TLS{ServerName: "redis.example", CAFile: ca}}, Options{})
	id := testID("u")
	cache := node(t, s, time.Hour)
	cached(t, cache, id)
	decide(t, s, id, consent.Granted)
	eventually(t, 5*time.Second, "the write is noticed", func() bool { return version(t, cache, id) == 1 })

	for name, c := range map[string]*TLS{
		"another name":          {ServerName: "other.example", CAFile: ca},
		"an unknown authority":  {ServerName: "redis.example"},
		"no name, another host": {CAFile: ca},
		"no TLS":                nil,
	} {
		if err := openStore(t, Config{Addresses: []string{addr}, TLS: c}, Options{}).Ping(t.Context()); err == nil {
			t.Errorf("%s: connected", name)
		}
	}
	if err := openStore(t, Config{Addresses: []string{addr}, TLS: &TLS{InsecureSkipVerify: true}}, Options{}).Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// certificates makes an authority and a server's certificate of it, as files.
func certificates(t *testing.T, dir, name string) (ca, cert, key string) {
	t.Helper()
	write := func(file, typ string, der []byte, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, &caKey.PublicKey, caKey)
	ca = write("ca.pem", "CERTIFICATE", der, err)

	serverKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err = x509.CreateCertificate(rand.Reader, server, authority, &serverKey.PublicKey, caKey)
	cert = write("cert.pem", "CERTIFICATE", der, err)
	der, err = x509.MarshalECPrivateKey(serverKey)
	return ca, cert, write("key.pem", "EC PRIVATE KEY", der, err)
}
