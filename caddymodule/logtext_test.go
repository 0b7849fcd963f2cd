package caddymodule

import "testing"

func TestScrubText(t *testing.T) {
	for in, want := range map[string]string{
		"handled request":                                            "handled request",
		"is it true? yes":                                            "is it true? yes",
		`Get "http://u:pw@h/a?imei=86&b=2": EOF`:                     `Get "http://…@h/a?…": EOF`,
		"GET /a?x=\"quoted\"&imei=86 failed":                         "GET /a?… failed",
		"/a?x=1 and /b?y=2":                                          "/a?… and /b?…",
		"dial tcp 203.0.113.9:80: connect: connection refused":       "dial tcp 203.0.113.9:80: connect: connection refused",
		"read tcp 10.1.2.3:8080->203.0.113.5:4711: connection reset": "read tcp …->…: connection reset",
		"read tcp [2001:db8::1]:443->[2001:db8::2]:5: reset":         "read tcp …->…: reset",
		"TLS handshake error from 198.51.100.7:5555: EOF":            "TLS handshake error from …: EOF",
		"client [2001:db8::7]: bye.":                                 "client […]: bye.",
		"at 12:34:56 version v2.11.9 on 127.0.0.1:80 and [::1]:443":  "at 12:34:56 version v2.11.9 on 127.0.0.1:80 and [::1]:443",
		`no route for "/consent/v1/subjects/u1/ledger": gone`:        `no route for "/consent/v1/subjects/{id}": gone`,
		"::ffff:203.0.113.5 is mapped":                               "… is mapped",
		"what came from 203.0.113.5.":                                "what came from ….",
		"lookup db on 203.0.113.53:53: no such host":                 "lookup db on …: no such host",
		`Unsolicited response received on idle HTTP channel starting with "{\"imei\":1"; err=<nil>`: `Unsolicited response received on idle HTTP channel starting with …`,
		`net/http: HTTP/1.x transport connection broken: malformed HTTP response "imei 86"`:         `net/http: HTTP/1.x transport connection broken: malformed HTTP response …`,
		`net/http: HTTP/1.x transport connection broken: malformed MIME header line: imei 86`:       `net/http: HTTP/1.x transport connection broken: malformed MIME header line: …`,
		`malformed HTTP status code "86"`: `malformed HTTP status code …`,
		"http://h/p#frag?imei=86":         "http://h/p#frag?…",
		`?imei=86"} left`:                 `?…"} left`,
	} {
		if got := scrubText(in); got != want {
			t.Errorf("%s\n got  %s\n want %s", in, got, want)
		}
	}
}

func TestScrubURIKeepsThePathAlone(t *testing.T) {
	for in, want := range map[string]string{
		"/v1/post?imei=86#f":                        "/v1/post",
		"http://h/v1?imei=86":                       "http://h/v1",
		"http://user:pw@h/v1":                       "http://…@h/v1",
		"*":                                         "*",
		"/consent/v1/events":                        "/consent/v1/events",
		"/consent/v1/policy":                        "/consent/v1/policy",
		"/consent/v1/subjects/u1":                   "/consent/v1/subjects/{id}",
		"/consent/v1/subjects/u1/links/d1?kind=":    "/consent/v1/subjects/{id}/links/{device}",
		"/consent/v1/subjects/u%2F1/ledger":         "/consent/v1/subjects/{id}/…",
		"/consent/v1/%73ubjects/u1":                 "/consent/v1/subjects/{id}",
		"/consent/v1/subject/u1":                    "/consent/v1/…",
		"/CONSENT/v1/subjects/u1":                   "/…",
		"/api/consent/v1/subjects/u1/links/d1/more": "/api/consent/v1/subjects/{id}/links/{device}/…",
	} {
		if got := scrubURI(in); got != want {
			t.Errorf("%s\n got  %s\n want %s", in, got, want)
		}
	}
}

func TestThePanicOfAHandlerIsLoggedWithoutItsValue(t *testing.T) {
	for in, want := range map[string]string{
		"http: panic serving 203.0.113.5:99: imei 86\ngoroutine 7 [running]:\nmain.f()": "http: panic serving a request: (value withheld)\ngoroutine 7 [running]:\nmain.f()",
		"http: panic serving 203.0.113.5:99: runtime error: nil map\ngoroutine 7 [r]:":  "http: panic serving a request: runtime error: nil map\ngoroutine 7 [r]:",
		"all is well": "all is well",
	} {
		if got := withholdPanic(in); got != want {
			t.Errorf("%q\n got  %q\n want %q", in, got, want)
		}
	}
}
