package caddymodule

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// What names the category of a value goes with it, so that the value can still be
// taken out when its consent has gone.
func TestForwardNamedValuesAreKnownWhenTheyLeave(t *testing.T) {
	p := startPartner(t)
	var status atomic.Int32
	status.Store(http.StatusServiceUnavailable)
	p.answer = switched(&status)
	s := startForwarding(t, p, forwarding(embedded, "", "retry 10ms 20ms\n\t\t\t\tbreaker 1000 10ms"))
	s.accept(t, "u1")
	s.decides(t, "u1", "ads.personalise", "adx", "granted")
	if n := s.bring(t, "u1", `{"id":"r","attrs":[{"name":"oaid","value":"9f7a8a90-56a2-4fcb-b6a3-1c8f0e2d7b11"},{"name":"model","value":"Pixel"}]}`); n != http.StatusOK {
		t.Fatalf("%d", n)
	}
	eventually(t, "the partner has answered 503", func() bool { return len(p.got()) > 2 })
	if got := p.got()[0].Records[0]; !strings.Contains(got, `{"name":"oaid","value":"`) || strings.Contains(got, "9f7a8a90") {
		t.Errorf("before: %s", got)
	}
	s.decides(t, "u1", "ads.personalise", "adx", "withdrawn")
	before := len(p.got())
	eventually(t, "it has posted again", func() bool { return len(p.got()) > before+2 })
	p.taken()
	status.Store(0)
	if got := p.records(t, 1)[0]; strings.Contains(got, `"oaid","value"`) || !strings.Contains(got, `{"name":"model","value":"Pixel"}`) {
		t.Errorf("after it was withdrawn: %s", got)
	}
}

// An exemption that a gate invokes is for what its upstream does: no case of clause
// 5 is one of advertising, so nothing goes to a partner on the strength of it.
func TestForwardInvokesNoExemption(t *testing.T) {
	p := startPartner(t)
	s := startForwarding(t, p, forwarding(embedded, "exempt legal.crime", ""))
	s.accept(t, "u1")
	for _, user := range []string{"stranger", "u1"} {
		if n := s.bring(t, user, bidRequest); n != http.StatusOK {
			t.Fatalf("%d", n)
		}
		if up := string(s.upstream.last(t).Body); !strings.Contains(up, canaryIMEI) {
			t.Fatalf("the exemption is not in force: %s", up)
		}
	}
	s.counted(t, `consentgate_outbox_waiting_records{recipient="adx"} 0`)
	if got := p.records(t, 1); len(got) != 1 || strings.Contains(got[0], canaryIMEI) || strings.Contains(got[0], "to nobody") || strings.Contains(got[0], "23.10662") {
		t.Errorf("arrived: %q", got)
	}
}

// A body of very many very short records would come to a hundred times its length
// on the way into an outbox: it is refused before it does, and nothing of it goes.
func TestForwardRefusesABodyOfTooManyRecords(t *testing.T) {
	p := startPartner(t)
	s := startForwarding(t, p, forwarding(embedded, "records batch", ""))
	s.accept(t, "u1")
	many := func(n int) string { return `{"batch":[` + strings.Repeat(`{"id":1},`, n) + `{}]}` }
	if n := s.bring(t, "u1", many(100_000)); n != http.StatusRequestEntityTooLarge || len(s.upstream.requests()) > 0 {
		t.Errorf("%d, and %d requests reached the upstream", n, len(s.upstream.requests()))
	}
	if n := s.bring(t, "u1", many(1000)); n != http.StatusOK {
		t.Errorf("%d", n)
	}
	if got := p.records(t, 1001); len(got) != 1001 {
		t.Errorf("%d records arrived", len(got))
	}
}
