package deid

import (
	"testing"

	"github.com/consentgate/consentgate/internal/payload"
)

// The digests are those of md5sum, sha1sum and sha256sum.
func TestDigest(t *testing.T) {
	checkAll(t, "{digest: {of: imei}}", payload.String, []example{
		{"of the digits of an IMEI", "004999010640000", "789b9efbdfcb6466d7e108cbd503db5d"},
		{"however they are grouped", " 00-499901-064000-0", "789b9efbdfcb6466d7e108cbd503db5d"},
		{"not of half an IMEI", "00499901064", unfit},
		{"not of a digest", "789b9efbdfcb6466d7e108cbd503db5d", unfit},
		{"not of the IMEI that says that there is none", "000000000000000", unfit},
		{"not of nothing", "", unfit},
	})
	checkAll(t, "{digest: {algorithm: sha1, of: android_id}}", payload.String, []example{
		{"of an Android id in lower case", "9774D56D682E549D", "b3e7612ca1e1492e64800066f6b2ff5bf9e7dd7c"},
		{"not of the Android id that many devices shared", "9774d56d682e549c", unfit},
	})
	checkAll(t, "{digest: {algorithm: md5, of: idfa}}", payload.String, []example{
		{"of an IDFA in upper case", "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee", "79439184c658a856ac644d76c5b015e6"},
		{"with its hyphens", "AAAAAAAABBBB4CCC8DDDEEEEEEEEEEEE", "79439184c658a856ac644d76c5b015e6"},
		{"not of the IDFA that says that there is none", "00000000-0000-0000-0000-000000000000", unfit},
	})
	checkAll(t, "{digest: {algorithm: md5, of: gaid}}", payload.String, []example{
		{"of a Google advertising id in lower case", "AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE", "1a13da186396de3e2efc50ca42f2f37c"},
	})
	checkAll(t, "{digest: {of: mac}}", payload.String, []example{
		{"of a MAC address in upper case without separators", "00:00:5e:00:53:01", "4e5777527ae0173f4597ebc081daddf5"},
		{"not of the address that phones report instead", "02:00:00:00:00:00", unfit},
	})
	checkAll(t, "{digest: {algorithm: sha256, of: email}}", payload.String, []example{
		{"of an address in lower case", " Me@Example.com ", "8c2a47d3bdb8d3096a6479f53eac3b724291db5f1c31611100f675be5537329d"},
		{"not of a digest", "8c2a47d3bdb8d3096a6479f53eac3b724291db5f1c31611100f675be5537329d", unfit},
	})
	checkAll(t, "{digest: {of: oaid}}", payload.String, []example{
		{"of an OAID as it came, since vendors spell it differently", "Oa1d", "4b91b5c4142d8f848a2cf4d981669241"},
	})
	got, kind := apply(t, make1(t, "{digest: sha256}"), "004999010640000", payload.Number)
	if kind != payload.String || got != "45ace52a5a817f345a6849dcf5f2ed01d26bcea38cd6f73b6439a1398ead513a" {
		t.Errorf("of a number: %s of kind %d", got, kind)
	}
}

// Without `of`, the category says how its identifiers are spelled.
func TestTheCategorySaysWhatIsHashed(t *testing.T) {
	for category, want := range map[string]string{
		"device.id.imei": "789b9efbdfcb6466d7e108cbd503db5d",
		"device.id":      "", // text: as it came, with the hyphens
	} {
		tr, err := New("digest", "md5", Env{Recipient: "adx", Category: category})
		if err != nil {
			t.Fatal(err)
		}
		got, _ := apply(t, tr, "00-499901-064000-0", payload.String)
		if want != "" && got != want || want == "" && got == "789b9efbdfcb6466d7e108cbd503db5d" {
			t.Errorf("%s: %s", category, got)
		}
	}
}
