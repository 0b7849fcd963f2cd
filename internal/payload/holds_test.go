package payload

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestHolds compares the search by words with a search for each byte.
func TestHolds(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	near := []byte("<>=%$&{|z}\\[]+*,\x00\x01\x80\xbd\xa5\xdb\xfb\xab\xff")
	for range 200_000 {
		text := bytes.Repeat([]byte{"a \xff"[r.IntN(3)]}, r.IntN(40))
		for range r.IntN(3) {
			if len(text) > 0 {
				text[r.IntN(len(text))] = near[r.IntN(len(near))]
			}
		}
		marks, escapes := holds(text)
		if wantMarks, wantEscapes := bytes.ContainsAny(text, "=%+{"), bytes.IndexByte(text, '\\') >= 0; marks != wantMarks || escapes != wantEscapes {
			t.Fatalf("%q: %t, %t, want %t, %t", text, marks, escapes, wantMarks, wantEscapes)
		}
	}
}
