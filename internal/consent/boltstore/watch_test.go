package boltstore

import (
	"errors"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/consentgate/consentgate/internal/consent"
)

func TestAWatcherThatStallsHoldsNoWriterUp(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "consent.db"))
	told, goOn := make(chan consent.ID), make(chan struct{})
	placed, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- s.Watch(t.Context(), func(id consent.ID) {
			told <- id
			<-goOn
		}, func(bool) { close(placed) })
	}()
	<-placed
	state := commit(t, s, decide(t, "u", consent.State{}, consent.Granted))
	<-told // and there it stays
	for range 10 {
		state = commit(t, s, decide(t, "u", state, consent.Granted))
	}
	goOn <- struct{}{}
	if id := <-told; id != "u" {
		t.Errorf("told of %q", id)
	}
	close(goOn)
	s.Close()
	if err := <-done; !errors.Is(err, consent.ErrClosed) {
		t.Errorf("Watch: %v", err)
	}
}

func TestAWatcherFarBehindIsResetInstead(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "consent.db"))
	told, goOn := make(chan consent.ID), make(chan struct{})
	resets := make(chan bool, 10)
	go s.Watch(t.Context(), func(id consent.ID) {
		told <- id
		<-goOn
	}, func(down bool) { resets <- down })
	<-resets
	s.watchers.announce("first")
	<-told
	for i := range maxPending + 2 {
		s.watchers.announce(consent.ID(strconv.Itoa(i)))
	}
	goOn <- struct{}{}
	if down := <-resets; down {
		t.Error("the link of an embedded store was down")
	}
	// What came after the overflow is still told.
	if id := <-told; id != consent.ID(strconv.Itoa(maxPending+1)) {
		t.Errorf("told of %q", id)
	}
	close(goOn)
}
