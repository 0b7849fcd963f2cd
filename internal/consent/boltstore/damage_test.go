package boltstore

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/consentgate/consentgate/internal/consent"
)

// Whatever page of the file is lost, a refusal is still read, or an error is.
func TestALostPageIsAnErrorAndNoState(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "consent.db")
	s := open(t, path)
	// Enough for the buckets to have pages of their own, and branches.
	states := make(map[consent.ID]consent.State)
	var ids []consent.ID
	for i := range 100 {
		id := consent.ID(bytes.Repeat([]byte{byte('A' + i%26)}, 20)) + consent.ID([]byte{byte('a' + i/26), 'x'})
		states[id] = commit(t, s, decide(t, id, consent.State{}, consent.Denied))
		ids = append(ids, id)
	}
	s.Close()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	found := 0
	for at := 2 * page; at < len(file); at += page { // beyond the two meta pages
		damaged := bytes.Clone(file)
		clear(damaged[at : at+page])
		lost := filepath.Join(dir, fmt.Sprintf("without-%d.db", at/page))
		if err := os.WriteFile(lost, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(lost, Options{})
		if err != nil {
			found++
			continue
		}
		for _, id := range ids {
			got, err := s.Load(t.Context(), []consent.ID{id})
			if err != nil {
				found++
			} else if !reflect.DeepEqual(got[0], states[id]) {
				t.Fatalf("without page %d, a state was read as %+v", at/page, got[0])
			}
		}
		s.Close()
	}
	if found == 0 {
		t.Error("no page was missed")
	}
}
