package caddymodule

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/consentgate/consentgate/internal/attack"
)

// TestOrdinaryIDsArrive: ids, tokens and times are random, and some of them
// look like the beginning of a codec. Of somebody who granted everything all of
// them arrive, under names that the policy lets pass and under names that it
// does not know.
func TestOrdinaryIDsArrive(t *testing.T) {
	s, up := startAttack(t, "enforce")
	r := rand.New(rand.NewPCG(attackSeed, 0))
	of := func(from string, n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = from[r.IntN(len(from))]
		}
		return string(b)
	}
	const (
		hex    = "0123456789abcdef"
		base62 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	)
	for _, k := range []struct {
		name, key string
		value     func() string
	}{
		{"UUIDs as IDFA", "idfa", func() string {
			return of(hex, 8) + "-" + of(hex, 4) + "-4" + of(hex, 3) + "-a" + of(hex, 3) + "-" + of(hex, 12)
		}},
		{"16 hexadecimal digits as Android id", "android_id", func() string { return of(hex, 16) }},
		{"32 hexadecimal digits as OAID", "oaid", func() string { return of(hex, 32) }},
		{"32 hexadecimal digits of a trace", "trace", func() string { return of(hex, 32) }},
		{"tokens of 24 letters and digits", "access_token", func() string { return of(base62, 24) }},
		{"tokens of 43 characters of base64url", "access_token", func() string { return of(base62+"-_", 43) }},
		{"words of 14 letters", "nickname", func() string { return of(base62[26:52], 14) }},
		{"times in seconds", "at", func() string { return fmt.Sprint(1700000000 + r.Int64N(90000000)) }},
		{"times in milliseconds", "at", func() string { return fmt.Sprint(1700000000000 + r.Int64N(90000000000)) }},
	} {
		const n = 20000
		values := make([]string, n)
		for i := range values {
			values[i] = k.value()
		}
		for _, as := range []struct{ mime, before, between, after string }{
			{"application/json", `[{"` + k.key + `":"`, `"},{"` + k.key + `":"`, `"}]`},
			{"application/x-www-form-urlencoded", k.key + "=", "&" + k.key + "=", ""},
		} {
			body := as.before + strings.Join(values, as.between) + as.after
			res := s.do("POST", "/v1/report", body, "Content-Type", as.mime, "X-User-ID", attack.GrantedID, attack.CaseHeader, "ids")
			got := up.take("ids")
			if res.Status != http.StatusOK || len(got) != 1 {
				t.Errorf("%s, %s: answered with %d: %s", k.name, as.mime, res.Status, res.Body)
				continue
			}
			if arrived := string(got[0].Body); arrived != body {
				there := map[string]bool{}
				for _, v := range strings.FieldsFunc(arrived, func(c rune) bool { return strings.ContainsRune(`"&=`, c) }) {
					there[v] = true
				}
				lost := slices.DeleteFunc(slices.Clone(values), func(v string) bool { return there[v] })
				t.Errorf("%s, %s: %d of %d are lost, such as %q", k.name, as.mime, len(lost), n, lost[:min(3, len(lost))])
			}
		}
	}
}
