package caddymodule

import (
	"strings"
	"testing"
)

func TestRecordIDs(t *testing.T) {
	const record = `{"id":"bid-1","imp":[{"id":"1"}],"user":{"id":"7"},"Message-Id":42,"event_id":null}`
	of := func(recipient, key string, paths ...string) string {
		t.Helper()
		ids, err := newRecordIDs(recipient, paths)
		if err != nil {
			t.Fatal(err)
		}
		out, ok := ids.apply([]byte(record), []byte(key))
		if !ok {
			t.Fatal("it does not go")
		}
		return string(out)
	}
	adx := of("adx", "key of adx", defaultRecordIDs...)
	if strings.Contains(adx, "bid-1") || strings.Contains(adx, ":42") || !strings.HasPrefix(adx, `{"id":"`) || !strings.HasSuffix(adx, `}`) {
		t.Errorf("%s", adx)
	}
	if !strings.Contains(adx, `"imp":[{"id":"1"}],"user":{"id":"7"}`) {
		t.Errorf("what is no id of the record was changed: %s", adx)
	}
	if again := of("adx", "key of adx", defaultRecordIDs...); again != adx {
		t.Errorf("one id became %s and %s", adx, again)
	}
	for says, other := range map[string]string{
		"another partner":    of("other", "key of other", defaultRecordIDs...),
		"another key":        of("adx", "another", defaultRecordIDs...),
		"another's own name": of("other", "key of adx", defaultRecordIDs...),
	} {
		if other[:20] == adx[:20] {
			t.Errorf("%s gets the same id: %s", says, other)
		}
	}
	if got := of("adx", "k", "imp.id"); !strings.Contains(got, `"id":"bid-1"`) || strings.Contains(got, `[{"id":"1"}]`) {
		t.Errorf("of imp.id: %s", got)
	}
	if got := of("adx", "", defaultRecordIDs...); strings.Contains(got, "bid-1") || strings.Contains(got, "42") {
		t.Errorf("without a key: %s", got)
	}
}

// What two partners get of one record has no id in common.
func TestForwardedRecordsHaveIDsOfThePartnersOwn(t *testing.T) {
	p := startPartner(t)
	s := startForwarding(t, p, strings.Replace(forwarding(embedded, "", ""), "record_ids off", "", 1))
	s.accept(t, "u1")
	for range 2 {
		s.bring(t, "u1", bid("r1", ""))
	}
	got := p.records(t, 2)
	if strings.Contains(got[0], `"r1"`) || got[0] != got[1] || !strings.HasPrefix(got[0], `{"id":"`) {
		t.Errorf("arrived: %q", got)
	}
}
