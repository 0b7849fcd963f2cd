package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// requireCoverage refuses a configuration in which a request can reach an
// upstream without having met a gate.
//
// It runs while the configuration is provisioned, hence for every way that one
// can be loaded, before any server listens, and in `validate` too. The http app
// may be ahead of this one, in the middle of its own provisioning (a gate of
// its has asked for this app), or not begun: asking for it begins it then, and
// its gates find this app, which by now has its policy.
func (a *App) requireCoverage(ctx caddy.Context) error {
	val, err := ctx.AppIfConfigured("http")
	if errors.Is(err, caddy.ErrNotConfigured) {
		val = new(caddyhttp.App)
	} else if err != nil {
		return nil //nolint:nilerr // Caddy meets the same error itself, and reports it once
	}
	app, ok := val.(*caddyhttp.App)
	if !ok {
		return fmt.Errorf("consent: the http app is a %T: cannot see which routes have a gate", val)
	}
	config, err := restoreHTTP(app)
	if err != nil {
		return fmt.Errorf("consent: reading the routes: %w", err)
	}
	cov, err := httpCoverage(config, a.Uncovered)
	if err != nil {
		return fmt.Errorf("consent: reading the routes: %w", err)
	}
	for _, text := range cov.Warnings {
		a.logger.Warn(text)
	}
	return cov.err()
}

// err returns all that is wrong, or nil.
func (c *coverage) err() error {
	if len(c.Errors) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString("consent: not every request to an upstream is in order (`consentgate policy coverage` lists them all):")
	for _, p := range c.Errors {
		b.WriteString("\n\t" + p.Message)
	}
	return errors.New(b.String())
}

// restoreHTTP writes the routes of the http app as JSON again. Caddy clears the
// JSON of what it has provisioned, route by route, so an app that is being
// provisioned has some of its routes as JSON and some as modules.
func restoreHTTP(app *caddyhttp.App) (json.RawMessage, error) {
	servers := make(map[string]any, len(app.Servers))
	for name, srv := range app.Servers {
		server := map[string]any{"listen": srv.Listen, "routes": restore(reflect.ValueOf(srv.Routes))}
		if srv.Errors != nil {
			server["errors"] = map[string]any{"routes": restore(reflect.ValueOf(srv.Errors.Routes))}
		}
		named := make(map[string]any, len(srv.NamedRoutes))
		for name, rt := range srv.NamedRoutes {
			named[name] = restoreRoute(*rt)
		}
		server["named_routes"] = named
		servers[name] = server
	}
	return json.Marshal(map[string]any{"servers": servers})
}

// restore makes of a provisioned value what encoding/json would have made of it
// before, save for modules other than routes, matchers and handlers.
func restore(v reflect.Value) any {
	if !v.IsValid() {
		return nil
	}
	// Nothing is copied but what a configuration holds: the rest of a module may
	// be in use by now, as the state of a proxy's upstreams is.
	if v.Type() == reflect.TypeFor[caddyhttp.Route]() {
		return restoreRoute(v.Interface().(caddyhttp.Route))
	}
	if v.Type().Implements(reflect.TypeFor[json.Marshaler]()) {
		return v.Interface()
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return restore(v.Elem())
	case reflect.Slice, reflect.Array:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = restore(v.Index(i))
		}
		return list
	case reflect.Map:
		if v.Type().Key().Kind() != reflect.String {
			return v.Interface()
		}
		object := make(map[string]any, v.Len())
		for it := v.MapRange(); it.Next(); {
			object[it.Key().String()] = restore(it.Value())
		}
		return object
	case reflect.Struct:
		object := make(map[string]any)
		restoreFields(v, object)
		return object
	case reflect.Func, reflect.Chan, reflect.UnsafePointer, reflect.Complex64, reflect.Complex128:
		return nil
	default:
		return v.Interface()
	}
}

func restoreFields(v reflect.Value, object map[string]any) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Anonymous && name == "":
			inner := v.Field(i)
			if inner.Kind() == reflect.Pointer {
				if inner.IsNil() {
					continue
				}
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct {
				restoreFields(inner, object)
			}
		case !field.IsExported() || name == "" || name == "-" || v.Field(i).IsZero():
		default:
			object[name] = restore(v.Field(i))
		}
	}
}

func restoreRoute(rt caddyhttp.Route) any {
	route := map[string]any{"group": rt.Group, "terminal": rt.Terminal}
	match := make([]any, 0, len(rt.MatcherSets))
	for _, set := range rt.MatcherSets {
		match = append(match, restoreMatchers(set))
	}
	if rt.MatcherSetsRaw != nil {
		route["match"] = rt.MatcherSetsRaw
	} else {
		route["match"] = match
	}
	handle := make([]any, 0, len(rt.Handlers))
	for _, h := range rt.Handlers {
		handle = append(handle, restoreHandler(h))
	}
	if rt.HandlersRaw != nil {
		route["handle"] = rt.HandlersRaw
	} else {
		route["handle"] = handle
	}
	return route
}

func restoreMatchers(set caddyhttp.MatcherSet) map[string]any {
	object := make(map[string]any, len(set))
	for _, m := range set {
		name := moduleName(m)
		if not, ok := m.(*caddyhttp.MatchNot); ok && not.MatcherSetsRaw == nil {
			inner := make([]any, 0, len(not.MatcherSets))
			for _, set := range not.MatcherSets {
				inner = append(inner, restoreMatchers(set))
			}
			object[name] = inner
			continue
		}
		object[name] = restore(reflect.ValueOf(m))
	}
	return object
}

func restoreHandler(h caddyhttp.MiddlewareHandler) any {
	object, ok := restore(reflect.ValueOf(h)).(map[string]any)
	if !ok {
		object = make(map[string]any)
	}
	object["handler"] = moduleName(h)
	if proxy, ok := h.(*reverseproxy.Handler); ok {
		if proxy.Transport != nil {
			object["transport"] = map[string]any{"protocol": moduleName(proxy.Transport)}
		}
		if proxy.DynamicUpstreams != nil {
			source, _ := restore(reflect.ValueOf(proxy.DynamicUpstreams)).(map[string]any)
			if source == nil {
				source = make(map[string]any)
			}
			source["source"] = moduleName(proxy.DynamicUpstreams)
			object["dynamic_upstreams"] = source
		}
	}
	return object
}

// moduleName is the name by which a configuration calls a module.
func moduleName(v any) string {
	if m, ok := v.(caddy.Module); ok {
		return m.CaddyModule().ID.Name()
	}
	return fmt.Sprintf("%T", v)
}
