package caddymodule

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// uncoveredErrors names the proxy in the error routes of a test that shows what
// such a proxy gets.
const uncoveredErrors = "\n\t\tuncovered :@PORT@ handle_errors @UPSTREAM@"

// coverageCaddyfile is one site with the options that every configuration has.
func coverageCaddyfile(t *testing.T, options, site string) string {
	t.Helper()
	return "{\n\tadmin off\n\tconsent {\n\t\tpolicy liaoxiaobang\n\t\tstore embedded " + t.TempDir() + "\n" + options +
		"\n\t}\n\tlog {\n\t\tformat consent\n\t}\n}\n" + site
}

// summary writes each route as one line, and the kind of each error as another.
func (c *coverage) summary() string {
	var lines []string
	for _, r := range c.Routes {
		var to []string
		for _, g := range r.Gates {
			to = append(to, g.Recipient)
		}
		lines = append(lines, fmt.Sprintf("%s = %s%s", r.name(), strings.Join(append(to, ""), " "), r.Verdict))
	}
	for _, u := range c.Unseen {
		lines = append(lines, "unseen "+u)
	}
	for _, p := range c.Errors {
		lines = append(lines, "! "+p.Kind)
	}
	return strings.Join(lines, "\n")
}

// coverageCases are sites on :8080 and what they come to.
var coverageCases = map[string]struct{ site, want string }{
	"a gate in the same block": {
		"handle /v1/* {\n consent_gate backend {\n purposes service.operate\n }\n reverse_proxy u:1\n}",
		":8080 /v1/* u:1 = backend gated",
	},
	"no gate": {
		"reverse_proxy u:1 u:2",
		":8080 * u:1 u:2 = NOT COVERED\n! uncovered",
	},
	"a gate beside a handle runs before it": {
		"handle {\n reverse_proxy u:1\n}\nconsent_gate backend",
		":8080 * u:1 = backend gated",
	},
	"a gate in one handle does not guard another": {
		"handle /a/* {\n consent_gate backend\n reverse_proxy u:1\n}\nhandle /b/* {\n reverse_proxy u:1\n}",
		":8080 /a/* u:1 = backend gated\n:8080 /b/* u:1 = NOT COVERED\n! uncovered",
	},
	"a gate in a handle does not guard what stands after it": {
		"route {\n handle {\n consent_gate backend\n }\n reverse_proxy u:1\n}",
		":8080 * u:1 = NOT COVERED\n! uncovered",
	},
	"a gate after the proxy": {
		"route {\n reverse_proxy u:1\n consent_gate backend\n}",
		":8080 * u:1 = NOT COVERED\n! uncovered",
	},
	"a gate with a matcher guards no more than it matches": {
		"consent_gate /a/* backend\nreverse_proxy u:1",
		":8080 * u:1 = NOT COVERED\n! uncovered",
	},
	"a gate with the matcher of the proxy": {
		"route {\n consent_gate /a/* backend\n encode\n reverse_proxy /a/* u:1\n}",
		":8080 /a/* u:1 = backend gated",
	},
	"a gate with the matcher of the block": {
		"@m {\n path /a/*\n not method GET\n}\nconsent_gate @m backend\nhandle @m {\n reverse_proxy u:1\n}\nhandle {\n respond ok\n}",
		":8080 /a/* +not u:1 = backend gated",
	},
	"a rewrite between the gate and the proxy": {
		"route {\n consent_gate /a/* backend\n rewrite /b /a/b\n reverse_proxy /a/* u:1\n}",
		":8080 /a/* u:1 = NOT COVERED\n! uncovered",
	},
	"a rewrite in a block that excludes the proxy's": {
		"consent_gate /a/* backend\nconsent_gate /b/* analytics\nhandle_path /a/* {\n reverse_proxy u:1\n}\nhandle /b/* {\n reverse_proxy u:2\n}",
		":8080 /a/* u:1 = backend gated\n:8080 /b/* u:2 = analytics gated",
	},
	"a rewrite in a block that does not exclude it": {
		"route {\n consent_gate /b/* backend\n route /a/* {\n uri strip_prefix /a\n }\n reverse_proxy /b/* u:1\n}",
		":8080 /b/* u:1 = NOT COVERED\n! uncovered",
	},
	"a host that is rewritten between the gate and the proxy": {
		"@h host a\nroute {\n consent_gate @h backend\n request_header Host a\n reverse_proxy @h u:1\n}",
		":8080 a u:1 = NOT COVERED\n! uncovered",
	},
	"a matcher on what a gate in between changes": {
		"@q query x=1\nroute {\n consent_gate @q backend\n consent_gate /z analytics\n reverse_proxy @q u:1\n}",
		":8080 +query u:1 = NOT COVERED\n! uncovered",
	},
	"a matcher that need not give the same answer twice": {
		"@f file /x\nroute {\n consent_gate @f backend\n encode\n reverse_proxy @f u:1\n}",
		":8080 +file u:1 = NOT COVERED\n! uncovered",
	},
	"forward_auth before the gate": {
		"forward_auth auth:1 {\n uri /check\n copy_headers X-User-ID\n}\nconsent_gate backend\nreverse_proxy u:1",
		":8080 * forward_auth auth:1 = NOT COVERED\n:8080 * u:1 = backend gated\n! uncovered",
	},
	"forward_auth after the gate": {
		"route {\n consent_gate backend\n forward_auth auth:1 {\n uri /check\n }\n reverse_proxy u:1\n}",
		":8080 * forward_auth auth:1 = backend gated\n:8080 * u:1 = backend gated",
	},
	"php_fastcgi": {
		"handle /a/* {\n consent_gate backend\n php_fastcgi php:9000\n}\nhandle {\n php_fastcgi php:9000\n}",
		":8080 /a/* *.php fastcgi php:9000 = backend gated\n:8080 *.php fastcgi php:9000 = NOT COVERED\n! uncovered",
	},
	"error routes": {
		"consent_gate backend\nreverse_proxy u:1\nhandle_errors {\n reverse_proxy u:2\n}",
		":8080 * u:1 = backend gated\n:8080 handle_errors u:2 = NOT COVERED\n! uncovered",
	},
	"error routes with a gate": {
		"consent_gate backend\nreverse_proxy u:1\nhandle_errors 502 {\n consent_gate backend\n reverse_proxy u:2\n}",
		":8080 * u:1 = backend gated\n:8080 handle_errors +expression u:2 = backend gated",
	},
	"handle_response": {
		"handle /a {\n consent_gate backend\n reverse_proxy u:1 {\n handle_response {\n reverse_proxy u:2\n }\n }\n}\nhandle /b {\n reverse_proxy u:1 {\n handle_response {\n consent_gate backend\n reverse_proxy u:2\n }\n }\n}",
		":8080 /a u:1 = backend gated\n:8080 /a handle_response u:2 = backend gated\n:8080 /b u:1 = NOT COVERED\n:8080 /b handle_response u:2 = backend gated\n! uncovered",
	},
	"intercept": {
		"intercept {\n handle_response {\n reverse_proxy u:2\n }\n}\nconsent_gate backend\nreverse_proxy u:1",
		":8080 handle_response u:2 = NOT COVERED\n:8080 * u:1 = backend gated\n! uncovered",
	},
	"a named route": {
		"handle /a {\n consent_gate backend\n invoke up\n}\nhandle /b {\n invoke up\n}",
		":8080 /a &(up) u:9 = backend gated\n:8080 /b &(up) u:9 = NOT COVERED\n! uncovered",
	},
	"dynamic upstreams": {
		"consent_gate backend\nreverse_proxy {\n dynamic a api.internal 80\n}",
		":8080 * dynamic a api.internal 80 = backend gated",
	},
	"two gates in a row": {
		"consent_gate backend\nhandle {\n consent_gate analytics\n reverse_proxy u:1\n}",
		":8080 * u:1 = backend analytics gated\n! two_gates",
	},
	"a gate that only observes": {
		"consent_gate backend {\n mode observe\n}\nreverse_proxy u:1",
		":8080 * u:1 = backend observed",
	},
	"partners that a gate forwards to": {
		"handle /a {\n consent_gate backend {\n  mode observe\n  forward adx https://user:pass@partner.example/events?key=k https://b.example:8443\n }\n respond ok\n}",
		":8080 /a forward https://partner.example/events = adx gated\n:8080 /a forward https://b.example:8443 = adx gated",
	},
	"one that observes before one that enforces": {
		"consent_gate analytics {\n mode observe\n}\nhandle {\n consent_gate backend\n reverse_proxy u:1\n}",
		":8080 * u:1 = analytics backend gated",
	},
	"bodies in the log": {
		"log_append b {http.request.body}\nrespond ok",
		"! log_body",
	},
	"what answers by itself reaches no upstream": {
		"handle /a {\n respond ok\n}\nhandle {\n consent_api\n}",
		"",
	},
	"methods, hosts and several sets": {
		"@m {\n method post\n path /B /a\n host B.example.com a.example.com\n}\nconsent_gate @m backend\nreverse_proxy @m u:1",
		":8080 POST a.example.com,b.example.com /b,/a u:1 = backend gated",
	},
}

func adaptedCase(t *testing.T, options, site string) []byte {
	t.Helper()
	cfg, err := adapt([]byte(coverageCaddyfile(t, options, "&(up) {\n reverse_proxy u:9\n}\nhttp://:8080 {\n"+site+"\n}\n")))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func decodeConfig(t *testing.T, cfg []byte) *caddy.Config {
	t.Helper()
	var c *caddy.Config
	if err := caddy.StrictUnmarshalJSON(cfg, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCoverage(t *testing.T) {
	for name, c := range coverageCases {
		t.Run(name, func(t *testing.T) {
			cfg := adaptedCase(t, "", c.site)
			cov, err := coverageOf(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if got := cov.summary(); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			sameWhenLoaded(t, cfg, cov)
		})
	}
}

// sameWhenLoaded checks that what Caddy loads comes to the same as the JSON,
// whatever of it has been provisioned by then.
func sameWhenLoaded(t *testing.T, cfg []byte, cov *coverage) {
	t.Helper()
	// Nothing is provisioned yet.
	var app caddyhttp.App
	if err := json.Unmarshal(decodeConfig(t, cfg).AppsRaw["http"], &app); err != nil {
		t.Fatal(err)
	}
	compareCoverage(t, "as JSON", &app, cov)

	// Loading refuses it for the same reasons.
	err := caddy.Validate(decodeConfig(t, cfg))
	for _, p := range cov.Errors {
		if err == nil || !strings.Contains(err.Error(), p.Message) {
			t.Errorf("validating gives %v, which lacks %s", err, p.Message)
		}
	}
	if len(cov.Errors) == 0 && err != nil {
		t.Error(err)
	}

	// With every uncovered route named it loads, in whatever order the apps
	// are provisioned, which is random.
	named := decodeConfig(t, cfg)
	var consentApp map[string]any
	if err := json.Unmarshal(named.AppsRaw["consent"], &consentApp); err != nil {
		t.Fatal(err)
	}
	var names []string
	others := false
	for _, r := range cov.Routes {
		if r.Verdict == verdictUncovered {
			names = append(names, r.name())
		}
	}
	for _, p := range cov.Errors {
		others = others || p.Kind != "uncovered"
	}
	if others {
		return
	}
	consentApp["uncovered"] = names
	raw, err := json.Marshal(consentApp)
	if err != nil {
		t.Fatal(err)
	}
	named.AppsRaw["consent"] = raw
	whole, err := json.Marshal(named)
	if err != nil {
		t.Fatal(err)
	}
	for range 6 {
		if err := caddy.Validate(decodeConfig(t, whole)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, err := caddy.ProvisionContext(decodeConfig(t, whole))
	if err != nil {
		t.Fatal(err)
	}
	val, err := ctx.App("http")
	if err != nil {
		t.Fatal(err)
	}
	compareCoverage(t, "provisioned", val.(*caddyhttp.App), cov)
}

func compareCoverage(t *testing.T, what string, app *caddyhttp.App, want *coverage) {
	t.Helper()
	restored, err := restoreHTTP(app)
	if err != nil {
		t.Fatal(err)
	}
	got, err := httpCoverage(restored, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Routes, want.Routes) {
		t.Errorf("%s:\n%s\nwant\n%s", what, got.summary(), want.summary())
	}
}

func TestTheOperatorNamesAnException(t *testing.T) {
	const site = "handle /health {\n reverse_proxy u:1\n}\nhandle /v1 {\n consent_gate backend\n reverse_proxy u:1\n}"
	for name, c := range map[string]struct{ options, want string }{
		"as it is listed":        {"uncovered :8080 /health u:1", ":8080 /health u:1 = named\n:8080 /v1 u:1 = backend gated"},
		"as one word":            {"uncovered \":8080 /health u:1\"", ":8080 /health u:1 = named\n:8080 /v1 u:1 = backend gated"},
		"another upstream":       {"uncovered :8080 /health u:2", ":8080 /health u:1 = NOT COVERED\n:8080 /v1 u:1 = backend gated\n! uncovered\n! stale"},
		"one that has a gate":    {"uncovered :8080 /health u:1\nuncovered :8080 /v1 u:1", ":8080 /health u:1 = named\n:8080 /v1 u:1 = backend gated\n! stale"},
		"one that is not there":  {"uncovered :8080 /health u:1\nuncovered :8080 /gone u:1", ":8080 /health u:1 = named\n:8080 /v1 u:1 = backend gated\n! stale"},
		"a part of what is said": {"uncovered :8080 /health", ":8080 /health u:1 = NOT COVERED\n:8080 /v1 u:1 = backend gated\n! uncovered\n! stale"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := adaptedCase(t, c.options, site)
			cov, err := coverageOf(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if got := cov.summary(); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if err := caddy.Validate(decodeConfig(t, cfg)); (err == nil) != (len(cov.Errors) == 0) {
				t.Errorf("validating: %v", err)
			}
		})
	}
}

// What an error tells the operator to write must be what helps.
func TestTheAdviceWorks(t *testing.T) {
	const site = "@m {\n header_regexp a X \"a b\"\n path /{foo}/`x`\n}\nreverse_proxy @m u:1"
	cov, err := coverageOf(adaptedCase(t, "", site))
	if err != nil || len(cov.Errors) != 1 {
		t.Fatalf("%v: %s", err, cov.summary())
	}
	_, line, _ := strings.Cut(cov.Errors[0].Message, "`uncovered ")
	cov, err = coverageOf(adaptedCase(t, "uncovered "+strings.TrimSuffix(line, "`"), site))
	if err != nil || len(cov.Errors) != 0 {
		t.Errorf("%v: %s", err, cov.summary())
	}
}

func TestLaxGatesAreListed(t *testing.T) {
	cov, err := coverageOf(adaptedCase(t, "", "consent_gate backend {\n mode observe\n on_unreadable pass\n on_store_error strip\n}\nreverse_proxy u:1"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"mode observe", "on_unreadable pass", "on_store_error strip"} {
		if len(cov.Warnings) != 3 || !strings.Contains(cov.Warnings[i], want) {
			t.Errorf("the warnings are %q", cov.Warnings)
		}
	}
}

// JSON may hold what no Caddyfile of the standard modules does.
func TestCoverageOfJSON(t *testing.T) {
	for name, c := range map[string]struct{ apps, want string }{
		"an app that nobody here can read":            {`"layer4":{"servers":{}}`, "unseen app layer4"},
		"a route in a handler of a plugin":            {serverOf(`{"handler":"plugin","then":[{"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"u:1"}]}]}]}`), ":1 plugin u:1 = NOT COVERED\nunseen handler plugin at :1 *\n! uncovered"},
		"a handler in a handler of a plugin":          {serverOf(`{"handler":"plugin","to":[{"handler":"consent_gate","recipient":"a"},{"handler":"reverse_proxy","upstreams":[{"dial":"u:1"}]}]}`), ":1 plugin u:1 = NOT COVERED\nunseen handler plugin at :1 *\n! uncovered"},
		"a gated plugin":                              {serverOf(`{"handler":"consent_gate","recipient":"a"},{"handler":"plugin","to":{"handler":"reverse_proxy","upstreams":[{"dial":"u:1"}]}}`), ":1 plugin u:1 = a gated\nunseen handler plugin at :1 *"},
		"errors of a subroute":                        {serverOf(`{"handler":"subroute","routes":[{"handle":[{"handler":"consent_gate","recipient":"a"}]}],"errors":{"routes":[{"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"u:1"}]}]}]}}`), ":1 handle_errors u:1 = NOT COVERED\n! uncovered"},
		"a rewrite ahead of a subroute, in one route": {`"http":{"servers":{"s":{"listen":[":1"],"routes":[{"match":[{"path":["/a"]}],"handle":[{"handler":"consent_gate","recipient":"a"}]},{"handle":[{"handler":"rewrite","uri":"/a"},{"handler":"subroute","routes":[{"match":[{"path":["/a"]}],"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"u:1"}]}]}]}]}]}}}`, ":1 /a u:1 = NOT COVERED\n! uncovered"},
		"a gate in a group":                           {`"http":{"servers":{"s":{"listen":[":1"],"routes":[{"group":"g","match":[{"path":["/x"]}],"handle":[{"handler":"vars"}]},{"group":"g","handle":[{"handler":"consent_gate","recipient":"a"}]},{"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"u:1"}]}]}]}}}`, ":1 * u:1 = NOT COVERED\n! uncovered"},
		"other spellings of the members":              {`"http":{"servers":{"s":{"Listen":[":1"],"ROUTES":[{"Handle":[{"handler":"subroute","Routes":[{"hanDle":[{"handler":"reverse_proxy","Upstreams":[{"Dial":"u:1"}]}]}]}]}]}}}`, ":1 * u:1 = NOT COVERED\n! uncovered"},
	} {
		t.Run(name, func(t *testing.T) {
			cov, err := coverageOf([]byte(`{"logging":{"logs":{"default":{"encoder":{"format":"consent"}}}},"apps":{` + c.apps + `}}`))
			if err != nil {
				t.Fatal(err)
			}
			if got := cov.summary(); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
	loop := `{"apps":{"http":{"servers":{"s":{"routes":[{"handle":[{"handler":"invoke","name":"x"}]}],"named_routes":{"x":{"handle":[{"handler":"invoke","name":"x"}]}}}}}}}`
	if _, err := coverageOf([]byte(loop)); err == nil || !strings.Contains(err.Error(), "invoke itself") {
		t.Errorf("error %v", err)
	}
}

// serverOf is an http app with one route of these handlers.
func serverOf(handlers string) string {
	return `"http":{"servers":{"s":{"listen":[":1"],"routes":[{"handle":[` + handlers + `]}]}}}`
}

func TestCoverageOfLogs(t *testing.T) {
	for name, c := range map[string]struct {
		logs string
		want []string // the logs that are named
	}{
		"none: the default log":          {``, []string{"default"}},
		"consent":                        {`"default":{"encoder":{"format":"consent"}}`, nil},
		"another format":                 {`"default":{"encoder":{"format":"json"}}`, []string{"default"}},
		"wrapped the wrong way round":    {`"default":{"encoder":{"format":"filter","wrap":{"format":"consent"}}}`, []string{"default"}},
		"the default without http":       {`"default":{"exclude":["http"]}`, nil},
		"the default without log.access": {`"default":{"exclude":["http.log.access"]}`, []string{"default"}},
		"an access log of its own":       {`"default":{"encoder":{"format":"consent"}},"log0":{"include":["http.log.access.log0"],"encoder":{"format":"console"}}`, []string{"log0"}},
		"with consent":                   {`"default":{"encoder":{"format":"consent"}},"log0":{"include":["http.log.access.log0"],"encoder":{"format":"consent"}}`, nil},
		"of something else":              {`"default":{"encoder":{"format":"consent"}},"tls":{"include":["tls"]}`, nil},
		"included and excluded":          {`"default":{"exclude":["*"]},"a":{"include":["http"],"exclude":["http.log","http.handlers","http.stdlib"]}`, []string{"a"}},
		"thrown away":                    {`"default":{"writer":{"output":"discard"}}`, nil},
		"a core of its own":              {`"default":{"core":{"module":"x"},"encoder":{"format":"consent"}}`, []string{"default"}},
	} {
		t.Run(name, func(t *testing.T) {
			cov, err := coverageOf([]byte(`{"logging":{"logs":{` + c.logs + `}},"apps":{"http":{}}}`))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range cov.Errors {
				got = append(got, strings.Fields(p.Message)[1])
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("named %q, want %q", got, c.want)
			}
		})
	}
}

func FuzzCoverage(f *testing.F) {
	f.Add([]byte(`{"apps":{` + serverOf(`{"handler":"consent_gate"},{"handler":"reverse_proxy"}`) + `}}`))
	f.Add([]byte(`{"apps":{` + serverOf(`{"handler":"subroute","routes":[null,{"match":[{"not":[{}]}],"handle":[null,1]}]}`) + `}}`))
	f.Fuzz(func(t *testing.T, cfg []byte) {
		cov, err := coverageOf(cfg)
		if err != nil {
			return
		}
		for _, r := range cov.Routes {
			if len(r.Gates) == 0 && r.Verdict == verdictGated {
				t.Errorf("%s is called gated and has no gate", r.name())
			}
		}
		if err := cov.print(new(strings.Builder)); err != nil {
			t.Error(err)
		}
	})
}
