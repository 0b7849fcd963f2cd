package boltstore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/consent/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) consent.Store {
		s, err := Open(filepath.Join(t.TempDir(), "data", "consent.db"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

var _ = []any{errors.Is, os.Stat, strings.Contains, time.Now, bolt.Open}
