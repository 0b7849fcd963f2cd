package detect

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

const corpus = "../../../shared/corpora/"

func corpusLines(t *testing.T, name string) [][]byte {
	data, err := os.ReadFile(corpus + name)
	if err != nil {
		t.Skip("the corpus is not beside this checkout")
	}
	return bytes.Split(bytes.TrimSpace(data), []byte("\n"))
}

// scalars calls f for the strings and numbers of a document, names too.
func scalars(t *testing.T, doc []byte, f func(text string, number bool)) {
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	for {
		token, err := dec.Token()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		switch v := token.(type) {
		case string:
			f(v, false)
		case json.Number:
			f(v.String(), true)
		}
	}
}

// Of 5,382 strings and 908 numbers in the bid requests, among them ids of eight
// digits, paths, prices, sizes and hosts, two are what a detector looks for:
// identifiers of transactions, and they are UUIDs.
func TestBidRequestsRaiseNoFalseAlarm(t *testing.T) {
	values := 0
	found := map[string]Set{}
	for _, line := range corpusLines(t, "openrtb/bid-requests.ndjson") {
		scalars(t, line, func(text string, number bool) {
			values++
			if number {
				if kinds := Number([]byte(text), all); kinds != 0 {
					found[text] = kinds
				}
				return
			}
			for _, m := range Append(nil, []byte(text), all) {
				found[text[m.Start:m.End]] = m.Kinds
			}
		})
	}
	const like = Set(likeUUID)
	want := map[string]Set{"b9c97a4b-cbc4-483d-b2c4-58a19ed5cfc5": like, "a3de7af2-a86a-4043-a77b-c7e86744155e": like}
	if values < 6000 || !maps.Equal(found, want) {
		t.Errorf("%d values hold %v", values, found)
	}
}

// What was planted in the requests of analytics clients is found, and nothing
// else is, in bodies and in query strings as they are.
func TestCapturesHoldWhatWasPlanted(t *testing.T) {
	found := map[string]bool{}
	for _, line := range corpusLines(t, "sdk-captures/captures.ndjson") {
		var c struct {
			Path string
			Body []byte `json:"body_base64"`
		}
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		if r, err := gzip.NewReader(bytes.NewReader(c.Body)); err == nil {
			if c.Body, err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		}
		for _, text := range []string{c.Path, string(c.Body)} {
			if strings.HasPrefix(text, "data_list=") {
				continue // compressed inside of a form
			}
			for _, m := range Append(nil, []byte(text), Set(usual).With(Hex16).With(OAID)) {
				found[describe(text, []Match{m})] = true
			}
		}
	}
	for f := range found {
		// Ids of messages, made anew for each.
		if f[:4] == "oaid" && strings.Count(f, "-") == 4 && !strings.Contains(f, "6D92078A") {
			delete(found, f)
		}
	}
	want := []string{
		"email=user@example.com", "hex16=9774d56d682e549c", "imei=356938035643809", "ipv4=203.0.113.77",
		"mac=02:00:5e:10:00:01", "oaid=6D92078A-8246-4BA4-AE5B-76104861E7DC", "oaid=9f89c84a559f573636a47ff8daed0d33",
		"phone=13800138000",
	}
	if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, want) {
		t.Errorf("found\n%s", strings.Join(got, "\n"))
	}
}
