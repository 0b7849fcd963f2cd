package kanontest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"testing"

	"github.com/consentgate/consentgate/internal/kanon"
)

func digests(t *testing.T, e Engine) {
	chooser, err := kanon.NewChooser(e.Node(0), bytes.Repeat([]byte("secret!!"), 4))
	if err != nil {
		t.Fatal(err)
	}
	model, os, major, subject, name := "Xiaomi-2201117TG", "14.2.891", "os-major-14", "m5XvKx0dVJ6cSubjectDig", "adx-of-somebody"
	for range 2 {
		_, err = chooser.Choose(t.Context(), name, three, []kanon.Record{
			{Subject: subject, Parts: []kanon.Part{
				{Levels: [][]byte{[]byte(model)}},
				{Levels: [][]byte{[]byte(os), []byte(major)}},
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	rest := e.Stored()
	if len(rest) < 100 {
		t.Fatalf("only %d bytes are said to rest in the store", len(rest))
	}
	for _, secret := range []string{model, os, major, subject, name, "secret!!"} {
		for how, form := range map[string]string{
			"as it is": secret, "in hex": hex.EncodeToString([]byte(secret)),
			"in base64": base64.RawURLEncoding.EncodeToString([]byte(secret)),
		} {
			if bytes.Contains(rest, []byte(form)) {
				t.Errorf("%q rests in the store, %s", secret, how)
			}
		}
	}
}
