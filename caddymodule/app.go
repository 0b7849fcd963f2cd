package caddymodule

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/deid"
	"github.com/consentgate/consentgate/internal/geo"
	"github.com/consentgate/consentgate/rules"
)

func init() {
	caddy.RegisterModule(&App{})
}

// minSecret is how many bytes a root secret, or a generated token, has at least.
const minSecret = consent.MinSecret

// App holds what all gates and the consent API share: the policy, the store of
// the subjects' decisions with a cache in front of it, and the root secret.
//
// The policy is read again within seconds of a change of its file or of a file
// that it includes. A changed policy that has errors, or that does not fit a
// gate, is refused as a whole: the one in force stays, and the log says why.
//
// The store and its cache survive a reload of the configuration that does not
// change them.
type App struct {
	// The file of the policy, or the name of a policy that ships with the
	// program: `liaoxiaobang`. Required.
	Policy string `json:"policy,omitempty"`

	// Where the decisions of subjects are kept. Default: the embedded store in
	// `./data`.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=consent.stores inline_key=type"`

	// The cache of the subjects' states in this process.
	Caching *Caching `json:"cache,omitempty"`

	// The root secret: any text of 32 bytes or more. From it come the names by
	// which stores and logs know subjects, and all pseudonyms. Write a
	// placeholder such as `{env.CONSENT_SECRET}` or `{file./run/secrets/consent}`.
	// It must stay the same as long as the data are kept, and be the same on
	// all gateways that share a store.
	//
	// Where it is not given, or resolves to nothing, the embedded store makes
	// one at its first start and keeps it beside the data, readable by the
	// owner alone; with any other store that is an error.
	Secret string `json:"secret,omitempty"`

	// The file of a GeoIP database (MaxMind DB, `.mmdb`) of cities or countries,
	// such as `/var/lib/GeoIP/GeoLite2-City.mmdb`. The transforms `{geo: city}`,
	// `{geo: area}`, `{ip: area}` and `{ip: country}` of a policy need it, and
	// with it nothing is sent to an ad partner whose address is in another country
	// than the policy says. It is read again within seconds of a change; a changed
	// file that is no database is refused, and the one in use stays. Default: none,
	// as where it resolves to nothing.
	GeoIP string `json:"geoip,omitempty"`

	// The routes that reach an upstream without a gate, because nothing
	// personal goes there. Each is written as the first three columns of
	// `consentgate policy coverage` show it, for instance
	// `:443 api.example.com /health 127.0.0.1:3000`. A configuration with a
	// proxied route that has no gate and is not named here does not load, and
	// neither does one that names a route which is not there or has a gate.
	Uncovered []string `json:"uncovered,omitempty"`

	logger  *zap.Logger
	metrics *metrics
	store   StoreModule
	source  *policySource
	secret  []byte // as given; nil: to be made beside the data
	geo     *geo.Database
	geoKey  string // set while this app holds a reference on geo

	loaded  *Current // what Provision has read
	engine  atomic.Pointer[engine]
	poolKey string // set while this app holds a reference on its engine

	mu        sync.Mutex
	onPolicy  []PreparePolicy
	partners  map[string]*partner // by recipient: whom gates forward to
	wantToken bool
	token     atomic.Pointer[[sha256.Size]byte] // digest of the token made beside the data

	outbox       atomic.Pointer[Outbox] // nil: nothing is forwarded
	deliveries   sync.WaitGroup
	stopPartners func() // nil: nothing is delivered
}

// Caching bounds the cache of the subjects' states.
type Caching struct {
	// How many states are kept. Default: 100000.
	Capacity int `json:"capacity,omitempty"`

	// How long a state is served without asking the store again, should the
	// news of its change never arrive. Default: 3s.
	Lease caddy.Duration `json:"lease,omitempty"`
}

// Current is the policy in force. Whoever makes something of a policy keeps
// the Current it was made of, and makes it anew when App.Current returns
// another.
type Current struct {
	Policy     *rules.Policy
	Generation uint64 // counts the policies that this process has had in force
}

// Verdict is what a subject's state comes to under a policy.
type Verdict struct {
	Permits rules.Permits
	Salt    []byte // nil: no pseudonym can be made
	Known   bool
	// Of is the policy that the permits belong to. Permits of one policy mean
	// nothing to another.
	Of *Current
}

// PreparePolicy makes ready for another policy, without using it yet. take is
// called once it is in force, unless some other part could not be made ready.
type PreparePolicy func(next *Current) (take func(), err error)

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "consent",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision reads the policy and the GeoIP database, resolves the secret, and
// looks for routes without a gate. It opens no store.
func (a *App) Provision(ctx caddy.Context) error {
	a.logger = ctx.Logger()
	if a.Policy == "" {
		return errors.New("consent: no policy; write `policy FILE` in the global option consent")
	}
	if err := a.provisionStore(ctx); err != nil {
		return err
	}
	if err := a.provisionSecret(); err != nil {
		return err
	}
	a.source = &policySource{name: caddy.NewReplacer().ReplaceAll(a.Policy, "")}
	policy, err := a.source.load()
	if err != nil {
		return fmt.Errorf("consent: the policy has problems:\n%w", err)
	}
	if err := a.provisionGeo(); err != nil {
		return fmt.Errorf("consent: %w", err)
	}
	if err := a.checkPlaces(policy); err != nil {
		return fmt.Errorf("consent: %w", err)
	}
	a.loaded = &Current{Policy: policy, Generation: generations.Add(1)}
	a.metrics, err = newMetrics(ctx.GetMetricsRegistry(), a.stats)
	if err != nil {
		return fmt.Errorf("consent: registering metrics: %w", err)
	}
	if _, err := registerOrExisting[prometheus.Collector](ctx.GetMetricsRegistry(), waiting{a}); err != nil {
		return fmt.Errorf("consent: registering metrics: %w", err)
	}
	return a.requireCoverage(ctx)
}

func (a *App) provisionStore(ctx caddy.Context) error {
	raw := a.StoreRaw
	if raw == nil {
		raw = json.RawMessage(`{"type":"embedded"}`)
	}
	holder := struct {
		Raw json.RawMessage `caddy:"namespace=consent.stores inline_key=type"`
	}{raw}
	mod, err := ctx.LoadModule(&holder, "Raw")
	if err != nil {
		return fmt.Errorf("consent: loading the store: %w", err)
	}
	store, ok := mod.(StoreModule)
	if !ok {
		return fmt.Errorf("consent: module %T is no consent store", mod)
	}
	a.store = store
	return nil
}

func (a *App) provisionSecret() error {
	secret := caddy.NewReplacer().ReplaceAll(a.Secret, "")
	switch {
	case secret == "" && a.store.Dir() == "":
		return errors.New("consent: no root secret; with this store every gateway needs the same one: write `secret {env.CONSENT_SECRET}` and set the variable to a random text of 32 bytes or more")
	case secret == "":
		return nil
	case len(secret) < minSecret:
		return fmt.Errorf("consent: the root secret has %d bytes; it needs %d or more of random text", len(secret), minSecret)
	}
	a.secret = []byte(secret)
	return nil
}

// Start opens the store, makes what is to be made at the first start, and
// begins to watch the policy and the store.
func (a *App) Start() error {
	key := a.engineKey()
	val, _, err := engines.LoadOrNew(key, func() (caddy.Destructor, error) {
		return newEngine(a.store, a.secret, a.Caching, a.source, a.loaded)
	})
	if err != nil {
		return err
	}
	a.poolKey = key
	e := val.(*engine)
	if err := e.join(a); err != nil {
		return fmt.Errorf("consent: the policy in force does not fit this configuration: %w", err)
	}
	if err := a.makeToken(); err != nil {
		e.leave(a)
		return err
	}
	a.engine.Store(e)
	if err := a.startPartners(e); err != nil {
		return fmt.Errorf("consent: %w", err)
	}
	cur := e.current.Load()
	a.logger.Info("policy in force",
		zap.String("policy", cur.Policy.ID()), zap.String("version", cur.Policy.InForce()), zap.String("from", a.source.name))
	return nil
}

// engineKey tells apart what cannot share an engine.
func (a *App) engineKey() string {
	h := sha256.New()
	caching, _ := json.Marshal(a.Caching)
	for _, part := range [][]byte{[]byte(a.store.Key()), a.secret, caching, []byte(a.source.name)} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// makeToken reads or makes the token of the consent API, if one is wanted.
func (a *App) makeToken() error {
	a.mu.Lock()
	wanted := a.wantToken
	a.mu.Unlock()
	if !wanted {
		return nil
	}
	path := filepath.Join(a.store.Dir(), tokenFile)
	token, made, err := readOrMakeSecretFile(path)
	if err != nil {
		return fmt.Errorf("consent: the token of the consent API: %w", err)
	}
	if made {
		a.logger.Info("made a token for the consent API; send it as `Authorization: Bearer TOKEN`", zap.String("file", path))
	}
	sum := sha256.Sum256(token)
	a.token.Store(&sum)
	return nil
}

// Stop ends the deliveries to partners, which another configuration takes over.
// Nothing else: requests may still be under way. See Cleanup.
func (a *App) Stop() error {
	if a.stopPartners != nil {
		a.stopPartners()
	}
	return nil
}

// Cleanup gives up this app's reference on the engine, so that it stops once
// no configuration uses it.
func (a *App) Cleanup() error {
	a.releaseGeo()
	if e := a.engine.Load(); e != nil {
		e.leave(a)
	}
	if a.poolKey == "" {
		return nil
	}
	key := a.poolKey
	a.poolKey = ""
	release := func() error {
		_, err := engines.Delete(key)
		return err
	}
	if caddy.Exiting() {
		return release()
	}
	// Caddy cleans up while requests of the old configuration are under way.
	// They go on with a store that is open and a cache that is kept true.
	time.AfterFunc(releaseDelay, func() {
		if err := release(); err != nil {
			caddy.Log().Named("consent").Error("closing the consent store", zap.Error(err))
		}
	})
	return nil
}

// releaseDelay is how long a store stays open after the last configuration
// that used it is gone.
var releaseDelay = 2 * time.Minute

// Ready reports whether the store is open. Until Start has run there is
// neither a service, a cache nor an identifier, and a request that comes so
// early is answered as if the store were unavailable.
func (a *App) Ready() bool { return a.engine.Load() != nil }

// Current returns the policy in force, from Provision on.
func (a *App) Current() *Current {
	if e := a.engine.Load(); e != nil {
		return e.current.Load()
	}
	return a.loaded
}

// OnPolicy registers what has to be made ready before another policy comes
// into force. It is for Provision: the policy of Current is to be prepared
// there. A policy that cannot be prepared for is refused.
func (a *App) OnPolicy(prepare PreparePolicy) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.onPolicy = append(a.onPolicy, prepare)
}

// Identifier returns what names subjects; nil unless Ready.
func (a *App) Identifier() *consent.Identifier {
	if e := a.engine.Load(); e != nil {
		return e.identifier
	}
	return nil
}

// Cache returns the cache of what subjects' states come to; nil unless Ready.
func (a *App) Cache() *consent.Cache[Verdict] {
	if e := a.engine.Load(); e != nil {
		return e.cache
	}
	return nil
}

// Service returns what records decisions; nil unless Ready.
func (a *App) Service() *consent.Service {
	if e := a.engine.Load(); e != nil {
		return e.service
	}
	return nil
}

// SubjectKey returns the key of one subject's pseudonyms for one recipient,
// which is named with its per value where it has one, in one epoch (see
// [rules.Pseudonyms]). Without a salt it is nil, and what asks for a pseudonym
// is dropped.
func (a *App) SubjectKey(recipient string, epoch uint32, salt []byte) []byte {
	e := a.engine.Load()
	if e == nil {
		return nil
	}
	return deid.SubjectKey(e.secret, recipient, epoch, salt)
}

// derivedKey returns 32 bytes for one use, derived from the root secret
// (HKDF-SHA-256, RFC 5869); nil unless Ready. Uses are named by this program and the
// configuration, so that each is derived once. The bytes are not to be changed.
func (a *App) derivedKey(use string) []byte {
	e := a.engine.Load()
	if e == nil {
		return nil
	}
	if key, ok := e.derived.Load(use); ok {
		return key.([]byte)
	}
	key, err := hkdf.Key(sha256.New, e.secret, nil, "consentgate "+use+" v1", sha256.Size)
	if err != nil {
		return nil // only a FIPS-only build fails, on a root that is too short for it
	}
	e.derived.Store(use, key)
	return key
}

// Digest returns the name by which logs may know a subject: a keyed digest,
// the same as the store's. It is empty for an id that names nobody.
func (a *App) Digest(kind consent.Kind, id string) string {
	e := a.engine.Load()
	if e == nil {
		return ""
	}
	digest, _ := e.identifier.Identify(kind, id)
	return string(digest)
}

// requireToken asks for a token that is made beside the data. It is for
// Provision.
func (a *App) requireToken() error {
	if a.store.Dir() == "" {
		return errors.New("consent_api: no token; with this store every gateway needs the same one: write `token {env.CONSENT_API_TOKEN}` and set the variable to a random text")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wantToken = true
	return nil
}

// stats returns the counters of the cache, for the metrics.
func (a *App) stats() consent.CacheStats {
	if c := a.Cache(); c != nil {
		return c.Stats()
	}
	return consent.CacheStats{}
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
