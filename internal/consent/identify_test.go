package consent

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"sync"
	"testing"
)

var testSecret = []byte("0123456789abcdef0123456789abcdef")

func testIdentifier(t testing.TB) *Identifier {
	t.Helper()
	i, err := NewIdentifier(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestAnIDIsTheKeyedDigestOfKindAndID(t *testing.T) {
	i := testIdentifier(t)
	for _, kind := range []Kind{User, Device} {
		for _, id := range []string{"u1", "用户", " u1", strings.Repeat("x", MaxSubject)} {
			mac := hmac.New(sha256.New, testSecret)
			mac.Write([]byte(string(kind) + ":" + id))
			want := ID(base64.RawURLEncoding.EncodeToString(mac.Sum(nil))[:22])
			if got, ok := i.Identify(kind, id); !ok || got != want {
				t.Errorf("Identify(%s, %q) = %q, %v; want %q", kind, id, got, ok, want)
			}
		}
	}
	other, err := NewIdentifier([]byte(strings.Repeat("y", 32)))
	if err != nil {
		t.Fatal(err)
	}
	a, _ := i.Identify(User, "u1")
	if b, _ := other.Identify(User, "u1"); a == b {
		t.Error("two secrets give one ID")
	}
}

func TestAShortSecretIsRefused(t *testing.T) {
	for _, n := range []int{0, 1, MinSecret - 1} {
		if _, err := NewIdentifier(make([]byte, n)); err == nil {
			t.Errorf("a secret of %d bytes was taken", n)
		}
	}
}

func TestTheSecretIsTheIdentifiersOwn(t *testing.T) {
	secret := []byte(strings.Clone(string(testSecret)))
	i, _ := NewIdentifier(secret)
	clear(secret)
	got, _ := i.Identify(User, "u1")
	if want, _ := testIdentifier(t).Identify(User, "u1"); got != want {
		t.Error("the ID changed with the caller's slice")
	}
}

func TestWhatNamesNoSubject(t *testing.T) {
	i := testIdentifier(t)
	for _, id := range []string{
		"", " ", "\t\r\n", "\u3000", "---", "{}",
		"0", "00", "0.0", "0x0", "0X00", "-0", "null", "NULL", " Null ", "(null)", "<null>", "undefined", "nil", "none",
		"None", "unknown", "UNKNOWN", "NaN", "n/a", "[object Object]", "anonymous",
		"00000000-0000-0000-0000-000000000000", "{00000000-0000-0000-0000-000000000000}",
		"00000000000000000000000000000000", "0000000000000000", "000000000000000", "00:00:00:00:00:00",
		"02:00:00:00:00:00", "02-00-00-00-00-00", "020000000000",
		"ff:ff:ff:ff:ff:ff", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "ffffffffffffffff",
		"9774d56d682e549c", "9774D56D682E549C", "004999010640000", "00499901-064000-0", "0123456789ABCDEF",
		"9f89c84a559f573636a47ff8daed0d33", "D41D8CD98F00B204E9800998ECF8427E",
		strings.Repeat("0", MaxSubject), strings.Repeat("f", 100), strings.Repeat("x", MaxSubject+1),
	} {
		for _, kind := range []Kind{User, Device} {
			if got, ok := i.Identify(kind, id); ok || got != "" {
				t.Errorf("Identify(%s, %q) = %q, %v", kind, id, got, ok)
			}
		}
	}
	for _, id := range []string{
		"1", "10", "0x1", "u0", "fff", "feff", "nullable", "nonesuch", "02:00:00:00:00:01",
		"00000000-0000-0000-0000-000000000001", "9774d56d682e549d", "зero", "\x00",
	} {
		if _, ok := i.Identify(User, id); !ok {
			t.Errorf("%q names no subject", id)
		}
	}
}

func TestIdentifyIsForManyGoroutines(t *testing.T) {
	i := testIdentifier(t)
	want := make(map[string]ID)
	for _, id := range []string{"a", "b", "c", "d"} {
		want[id], _ = i.Identify(User, id)
	}
	var wg sync.WaitGroup
	for id := range want {
		wg.Go(func() {
			for range 1000 {
				if got, _ := i.Identify(User, id); got != want[id] {
					t.Errorf("%s: %s", id, got)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkIdentify(b *testing.B) {
	i := testIdentifier(b)
	b.ReportAllocs()
	for b.Loop() {
		i.Identify(Device, "6f1f7a3e-6b57-4a4c-9a55-0f3f0f7a2c11")
	}
}
