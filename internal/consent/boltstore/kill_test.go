package boltstore

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/consentgate/consentgate/internal/consent"
)

// childFile, when set, makes the test binary a process that writes to that
// store until it is killed.
const childFile = "CONSENT_BOLTSTORE_TEST_FILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(childFile); path != "" {
		writeForever(path)
	}
	os.Exit(m.Run())
}

// childWriters write at once, so that the kill meets shared transactions.
const childWriters = 4

func writeForever(path string) {
	s, err := Open(path, Options{})
	if err != nil {
		panic(err)
	}
	var mu sync.Mutex
	for n := range childWriters {
		go func() {
			id := childID(n)
			states, err := s.Load(context.Background(), []consent.ID{id})
			if err != nil {
				panic(err)
			}
			for state := states[0]; ; {
				w := decide(new(testing.T), id, state, consent.Granted)
				w.IdempotencyKey = w.Entry.Hash
				if err := s.Commit(context.Background(), w); err != nil {
					panic(err)
				}
				mu.Lock()
				fmt.Printf("%s %d %s\n", id, w.Entry.Seq, w.Entry.Hash)
				mu.Unlock()
				state = w.Next
			}
		}()
	}
	select {}
}

func childID(n int) consent.ID { return consent.ID(fmt.Sprint("writer", n)) }

func TestAcknowledgedWritesSurviveKill(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "consent.db")
	acknowledged := make(map[string]bool)
	for round := range 5 {
		child := exec.Command(self)
		child.Env = append(os.Environ(), childFile+"="+path)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		for n := 0; ; n++ {
			line, err := lines.ReadString('\n')
			if err != nil { // the pipe's end, after all that was printed
				break
			}
			acknowledged[strings.TrimSuffix(line, "\n")] = true
			if n == 50+37*round {
				child.Process.Kill()
			}
		}
		child.Wait()

		s := open(t, path)
		found := make(map[string]bool)
		for n := range childWriters {
			for _, e := range ledger(t, s, childID(n)) {
				found[fmt.Sprintf("%s %d %s", e.Subject, e.Seq, e.Hash)] = true
				if seen, ok, err := s.Seen(t.Context(), e.Subject, e.Hash); err != nil || ok && seen.Hash != e.Hash {
					t.Errorf("Seen: %v", err)
				}
			}
		}
		for line := range acknowledged {
			if !found[line] {
				t.Errorf("round %d: a write was acknowledged and is gone: %s", round, line)
			}
		}
		s.Close()
	}
	if len(acknowledged) < 300 {
		t.Errorf("only %d writes were made", len(acknowledged))
	}
}
