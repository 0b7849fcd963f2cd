package caddymodule

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/consentgate/consentgate/internal/geo"
	"github.com/consentgate/consentgate/rules"
)

// openGeo are the GeoIP databases in use, by the absolute name of the file, so
// that a reload of the configuration reads none of them again.
var openGeo = caddy.NewUsagePool()

// geoFile is a database in the pool. What it holds is memory, so that nothing is
// closed while requests of an old configuration still look something up.
type geoFile struct{ *geo.Database }

// Destruct implements caddy.Destructor.
func (geoFile) Destruct() error { return nil }

// Geo returns the GeoIP database, from Provision on; nil: there is none.
func (a *App) Geo() *geo.Database { return a.geo }

// provisionGeo opens the GeoIP database, if one is named.
func (a *App) provisionGeo() error {
	path := caddy.NewReplacer().ReplaceAll(a.GeoIP, "")
	if path == "" {
		return nil
	}
	key, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("geoip: %w", err)
	}
	val, loaded, err := openGeo.LoadOrNew(key, func() (caddy.Destructor, error) {
		db, err := geo.Open(path)
		return geoFile{db}, err
	})
	if err != nil {
		return fmt.Errorf("geoip: %w", err)
	}
	a.geo, a.geoKey = val.(geoFile).Database, key
	if loaded {
		return nil
	}
	a.logger.Info("GeoIP database in use", zap.String("file", path), zap.String("type", a.geo.Type()), zap.Time("built", a.geo.Built()))
	return nil
}

// releaseGeo gives up the reference on the database.
func (a *App) releaseGeo() {
	if a.geoKey != "" {
		_, _ = openGeo.Delete(a.geoKey) // Destruct has no error
		a.geoKey = ""
	}
}

// checkPlaces refuses a policy that needs GeoIP where there is none: what it
// promises to a recipient in a coarser form would be dropped, silently.
func (a *App) checkPlaces(p *rules.Policy) error {
	if a.geo != nil {
		return nil
	}
	var errs []error
	for _, r := range p.Placed() {
		errs = append(errs, fmt.Errorf("the policy's recipient %s de-identifies by GeoIP, and there is no database: write `geoip FILE` in the global option consent, with a database of cities such as GeoLite2-City.mmdb; or take {geo: city}, {geo: area}, {ip: area} and {ip: country} out of its release", r.ID))
	}
	return errors.Join(errs...)
}

// reloadGeo reads the GeoIP databases again whose files have changed.
func (e *engine) reloadGeo() {
	using := map[*geo.Database][]*App{}
	e.mu.Lock()
	for a := range e.apps {
		if a.geo != nil {
			using[a.geo] = append(using[a.geo], a)
		}
	}
	e.mu.Unlock()
	log := caddy.Log().Named("consent")
	for db, apps := range using {
		changed, err := db.Reload()
		if !changed && err == nil {
			continue
		}
		for _, a := range apps {
			a.metrics.countGeoReload(err == nil)
		}
		if err != nil {
			log.Error("the changed GeoIP database is refused; the one in use stays", zap.Error(err))
			continue
		}
		log.Info("the changed GeoIP database is in use", zap.String("file", db.Path()), zap.String("type", db.Type()), zap.Time("built", db.Built()))
	}
}

// Interface guards
var _ caddy.Destructor = geoFile{}
