package codec

import "testing"

func TestJavaHash(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want int32
	}{
		{"", 0},
		{"a", 97},
		{"ab", 31*97 + 98},
		{"hello", 99162322},
		{"polygenelubricants", -2147483648}, // the well-known one
		{"\u00e9", 233},
		{"\u5f20\u4e09", 31*0x5f20 + 0x4e09},
		{"\U0001f600", 31*0xd83d + 0xde00}, // two units
		{"\xff", 0xfffd},
	} {
		if got := JavaHash([]byte(tt.in)); got != tt.want {
			t.Errorf("%q: %d, want %d", tt.in, got, tt.want)
		}
	}
}

func TestAmplitudeChecksum(t *testing.T) {
	// printf '2KEY[{"a":1}]1396381378123' | md5sum
	const want = "8be2813a9de0f986ce9e598ad0561757"
	if got := AmplitudeChecksum("2", "KEY", `[{"a":1}]`, "1396381378123"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if AmplitudeChecksum("2", "KEY", "[]", "1") == AmplitudeChecksum("2", "KEY", "[ ]", "1") {
		t.Error("the events do not count")
	}
}
