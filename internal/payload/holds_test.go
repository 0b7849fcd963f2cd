package payload

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestHolds compares the search by words with a search for each byte.
func TestHolds(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	near := []byte("<>=%$&{|z}\\[]+*,\x00\x01\x80\xbd\xa5\xdb\xfb\xab\xff059:?/@A\xef\xee")
	for range 200_000 {
		text := bytes.Repeat([]byte{"a \xff"[r.IntN(3)]}, r.IntN(40))
		for range r.IntN(3) {
			if len(text) > 0 {
				text[r.IntN(len(text))] = near[r.IntN(len(near))]
			}
		}
		marks, escapes, telling := holds(text)
		wantTelling := bytes.IndexByte(text, 0xef) >= 0 // no rune
		for _, c := range text {
			wantTelling = wantTelling || c >= '0' && c <= '?' || c == '@'
		}
		wantMarks, wantEscapes := false, bytes.IndexByte(text, '\\') >= 0
		for _, c := range text {
			wantMarks = wantMarks || c == '=' || c == '%' || c == '+' || c == '{'
		}
		if marks != wantMarks || escapes != wantEscapes || telling != wantTelling {
			t.Fatalf("%q: %t, %t, %t, want %t, %t, %t", text, marks, escapes, telling, wantMarks, wantEscapes, wantTelling)
		}
	}
}
