package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/consentgate/consentgate/internal/consent/redistest"
)

// A fixture is a request and what is to arrive of it in each consent state.
// See fixtures/README.md for the format of its file.
type fixture struct {
	name      string
	recipient string
	route     string // subdirectives of its gate
	request   string
	expect    map[string]string // by state
}

const fixtureToken = "a-token-that-only-this-test-knows-1234"

func loadFixtures(t *testing.T) (fixtures []fixture, states map[string][]json.RawMessage, order []string) {
	t.Helper()
	files, err := filepath.Glob("../fixtures/*/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		f := fixture{
			name:      strings.TrimSuffix(strings.TrimPrefix(file, "../fixtures/"), ".txt"),
			recipient: filepath.Base(filepath.Dir(file)), expect: map[string]string{},
		}
		for _, s := range sections(string(text)) {
			switch {
			case s.name == "route":
				f.route = s.text
			case s.name == "request":
				f.request = s.text
			case strings.HasPrefix(s.name, "expect: "):
				for _, state := range strings.Split(strings.TrimPrefix(s.name, "expect: "), ",") {
					f.expect[strings.TrimSpace(state)] = s.text
				}
			default:
				t.Fatalf("%s: unknown section %q", file, s.name)
			}
		}
		if f.request == "" || len(f.expect) == 0 {
			t.Fatalf("%s: no request, or nothing expected", file)
		}
		fixtures = append(fixtures, f)
	}
	text, err := os.ReadFile("../fixtures/states.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		States map[string]struct{ Events []map[string]any }
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	states = map[string][]json.RawMessage{}
	for name, s := range file.States {
		states[name], order = nil, append(order, name)
		for _, e := range s.Events {
			b, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			states[name] = append(states[name], b)
		}
	}
	slices.Sort(order)
	return fixtures, states, order
}

type section struct{ name, text string }

// sections splits a file at its lines of the form "-- name --". A section's
// text ends without its last newline.
func sections(text string) (list []section) {
	for _, line := range strings.SplitAfter(text, "\n") {
		if name, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "-- "); ok && strings.HasSuffix(name, " --") {
			list = append(list, section{name: strings.TrimSuffix(name, " --")})
		} else if len(list) > 0 {
			list[len(list)-1].text += line
		}
	}
	for i := range list {
		list[i].text = strings.TrimSuffix(list[i].text, "\n")
	}
	return list
}

// TestFixtures sends every fixture, in every consent state that it speaks of,
// through a real Caddy on both stores, and compares what arrives.
func TestFixtures(t *testing.T) {
	fixtures, states, order := loadFixtures(t)
	for _, store := range []string{"embedded", "redis"} {
		for _, state := range order {
			t.Run(store+"/"+state, func(t *testing.T) {
				playFixtures(t, store, state, states[state], fixtures)
			})
		}
	}
}

func playFixtures(t *testing.T, store, state string, events []json.RawMessage, fixtures []fixture) {
	var b strings.Builder
	b.WriteString("{\n\tconsent {\n\t\tpolicy liaoxiaobang\n\t\tsecret 0123456789abcdef0123456789abcdef\n")
	if store == "redis" {
		fmt.Fprintf(&b, "\t\tstore redis {\n\t\t\taddress %s\n\t\t}\n", redistest.Start(t).Addr)
	} else {
		b.WriteString("\t\tstore embedded @DATA@/store\n")
	}
	b.WriteString("\t}\n}\nhttp://:@PORT@ {\n\thandle /consent/* {\n\t\tconsent_api {\n\t\t\ttoken " + fixtureToken + "\n\t\t}\n\t}\n")
	played := 0
	for i, f := range fixtures {
		if _, ok := f.expect[state]; !ok {
			continue
		}
		played++
		subjects := "\t\t\tsubject {http.request.header.X-User-ID}\n\t\t\tdevice {http.request.header.X-Install-ID}\n"
		fmt.Fprintf(&b, "\t@f%d host f%d.test\n\thandle @f%d {\n\t\tconsent_gate %s {\n%s%s\n\t\t}\n\t\treverse_proxy @UPSTREAM@\n\t}\n",
			i, i, i, f.recipient, subjects, constantSubject.ReplaceAllString(f.route, "$0{http.request.header.None}"))
	}
	b.WriteString("}\n")
	if played == 0 {
		t.Fatalf("no fixture speaks of the state %s", state)
	}
	s := startCaddy(t, b.String())
	for _, e := range events {
		if r := s.do("POST", "/consent/v1/events", string(e), "Authorization", "Bearer "+fixtureToken, "Content-Type", "application/json"); r.Status != http.StatusCreated {
			t.Fatalf("recording %s: %d %s", e, r.Status, r.Body)
		}
	}
	for i, f := range fixtures {
		want, ok := f.expect[state]
		if !ok {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			s.upstream.forget()
			head, body, _ := strings.Cut(f.request, "\n\n")
			raw := strings.ReplaceAll(head, "\n", "\r\n") +
				fmt.Sprintf("\r\nHost: f%d.test\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", i, len(body), body)
			r := s.raw(raw)
			if kind, refused := strings.CutPrefix(want, "refused "); refused {
				status, name, _ := strings.Cut(kind, " ")
				if len(s.upstream.requests()) > 0 {
					t.Fatalf("it was to be refused, and %s arrived", s.upstream.last(t).Raw)
				}
				if fmt.Sprint(r.Status) != status || !strings.HasSuffix(fmt.Sprint(r.json(t)["type"]), "/"+name) {
					t.Fatalf("got %d %s, want %s", r.Status, r.Body, want)
				}
				return
			}
			if r.Status != http.StatusOK {
				t.Fatalf("refused: %d %s", r.Status, r.Body)
			}
			compareArrived(t, s.upstream.last(t), want, f.request)
		})
	}
}

// constantSubject is a subject that is the same for every request, which a
// fixture may have and no gate takes: a placeholder for nothing stands behind it.
var constantSubject = regexp.MustCompile(`(?m)subject [^{ \n]+$`)

// added are the headers that stand on the wire whatever the gate does.
var added = []string{"Accept-Encoding", "Connection", "Content-Length", "Host", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Consent-Gate"}

// pseudonymAt stands for a pseudonym: by the same number, the same one.
var pseudonymAt = regexp.MustCompile(`⟦([a-z_.]+) (\d+)⟧`)

func compareArrived(t *testing.T, got received, want, request string) {
	t.Helper()
	var headers []string
	for name, values := range got.Header {
		for _, v := range values {
			if !slices.Contains(added, name) {
				headers = append(headers, name+": "+v)
			}
		}
	}
	slices.Sort(headers)
	arrived := strings.Join(append([]string{got.Line}, headers...), "\n") + "\n\n" + string(got.Body)

	head, body, _ := strings.Cut(want, "\n\n")
	lines := strings.Split(head, "\n")
	for i, l := range lines[1:] {
		name, value, _ := strings.Cut(l, ": ")
		lines[i+1] = http.CanonicalHeaderKey(name) + ": " + value
	}
	slices.Sort(lines[1:])
	want = strings.Join(lines, "\n") + "\n\n" + body

	pattern, numbers := "", []string(nil)
	rest := want
	for {
		at := pseudonymAt.FindStringSubmatchIndex(rest)
		if at == nil {
			break
		}
		pattern += regexp.QuoteMeta(rest[:at[0]]) + `([0-9A-Za-z_:%-]+)`
		numbers = append(numbers, rest[at[4]:at[5]])
		rest = rest[at[1]:]
	}
	m := regexp.MustCompile("^" + pattern + regexp.QuoteMeta(rest) + "$").FindStringSubmatch(arrived)
	if m == nil {
		t.Errorf("arrived:\n%s\n\nwanted:\n%s", arrived, want)
		return
	}
	seen := map[string]string{}
	for i, n := range numbers {
		p := m[i+1]
		if first, ok := seen[n]; ok && first != p {
			t.Errorf("pseudonym %s is both %s and %s", n, first, p)
		}
		for other, q := range seen {
			if other != n && q == p {
				t.Errorf("pseudonyms %s and %s are the same", n, other)
			}
		}
		seen[n] = p
		if strings.Contains(strings.ToLower(request), strings.ToLower(p)) {
			t.Errorf("%s is no pseudonym: it stands in the request", p)
		}
	}
}
