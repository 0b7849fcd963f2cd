package caddymodule

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// What a configuration says of a partner is judged when it is loaded, not when
// the first record comes.
func TestAForwardThatCannotBeKeptDoesNotLoad(t *testing.T) {
	const adx = "forward adx http://127.0.0.1:1/events"
	for name, tt := range map[string]struct{ gate, other, want string }{
		"as it should be":                   {adx, adx, ""},
		"other purposes on another route":   {adx, adx + " {\n purposes ads.measure\n}", ""},
		"the same recipient twice":          {adx + "\n" + adx, "", "forward adx is given twice"},
		"other settings on another route":   {adx, adx + " {\n gzip\n}", "another route forwards to adx with other settings"},
		"a recipient that is none":          {"forward adz http://127.0.0.1:1/", "", "adz"},
		"a recipient of many parties":       {"forward open_platform http://127.0.0.1:1/", "", "nobody can tell which party behind it a record is for"},
		"a purpose that is not its own":     {adx + " {\n purposes service.operate\n}", "", "service.operate"},
		"a format that is none":             {adx + " {\n format csv\n}", "", `format is ndjson, array or single, not "csv"`},
		"a choice that is none":             {adx + " {\n bound 1MiB wait\n}", "", `a full outbox means refuse or drop_oldest, not "wait"`},
		"retry, the longer one first":       {adx + " {\n retry 1m 1s\n}", "", "retry is two times, the shorter one first"},
		"an address that is none":           {"forward adx adx.example/events", "", "URL 1 is none of http:// or https:// with a host"},
		"an address that came to nothing":   {"forward adx http://127.0.0.1:1/ {env.CONSENTGATE_UNSET}", "", "URL 2 is none of http:// or https:// with a host"},
		"a credential that came to nothing": {adx + " {\n header Authorization \"Bearer {env.CONSENTGATE_UNSET}\"\n}", "", "the header Authorization: "},
		"ids of records that stay, and not": {adx + " {\n record_ids off id\n}", "", "record_ids is off, or paths, not both"},
		"a header that frames the body":     {adx + " {\n header Content-Length 1\n}", "", "the header Content-Length is not for a partner to set"},
		"a header that names no partner's":  {adx + " {\n header Idempotency-Key 1\n}", "", "the header Idempotency-Key is not for a partner to set"},
	} {
		t.Run(name, func(t *testing.T) {
			caddyfile := "{\n\tadmin off\n\tconsent {\n\t\tpolicy liaoxiaobang\n\t\tstore embedded " + t.TempDir() + "\n\t}\n\tlog {\n\t\tformat consent\n\t}\n}\n" +
				"http://127.0.0.1:1 {\n"
			for path, forward := range map[string]string{"/a*": tt.gate, "/b*": tt.other} {
				caddyfile += "\thandle " + path + " {\n\t\tconsent_gate backend {\n\t\t\tsubject {http.request.header.X-User-ID}\n\t\t\t" + forward + "\n\t\t}\n\t\treverse_proxy 127.0.0.1:1\n\t}\n"
			}
			cfg, err := adapt([]byte(caddyfile + "}\n"))
			if err != nil {
				t.Fatal(err)
			}
			var c caddy.Config
			if err := json.Unmarshal(cfg, &c); err != nil {
				t.Fatal(err)
			}
			switch err := caddy.Validate(&c); {
			case tt.want == "" && err != nil:
				t.Errorf("it does not load: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("the error is\n\t%v\nand should contain\n\t%s", err, tt.want)
			}
		})
	}
}
