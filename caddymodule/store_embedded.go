package caddymodule

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/consent/boltstore"
)

func init() {
	caddy.RegisterModule(EmbeddedStore{})
}

// EmbeddedStore keeps the decisions of subjects in one file on this machine. A
// write is on disk before it is acknowledged. Only one process can have the
// file open; gateways on several machines share a Redis instead.
//
// The root secret and the token of the consent API, where they are not given,
// are made at the first start and kept in the same directory, as
// `consent.secret` and `consent.token`, readable by the owner alone. Back the
// secret up with the data: they mean nothing without it.
type EmbeddedStore struct {
	// The directory of the file. It is made if it is missing. Default: `./data`.
	Path string `json:"path,omitempty"`

	dir string
}

// dataFile is the file in the directory.
const dataFile = "consent.db"

// CaddyModule returns the Caddy module information.
func (EmbeddedStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  storeNamespace + ".embedded",
		New: func() caddy.Module { return new(EmbeddedStore) },
	}
}

// Provision resolves the path. It opens nothing, so that a configuration can
// be validated while the file is in use.
func (s *EmbeddedStore) Provision(caddy.Context) error {
	dir := caddy.NewReplacer().ReplaceAll(s.Path, "")
	abs, err := filepath.Abs(cmp.Or(dir, "data"))
	if err != nil {
		return err
	}
	s.dir = abs
	return nil
}

// Key implements StoreModule.
func (s *EmbeddedStore) Key() string { return "embedded:" + s.dir }

// Dir implements StoreModule.
func (s *EmbeddedStore) Dir() string { return s.dir }

// HasData reports whether the store has been opened here before.
func (s *EmbeddedStore) HasData() bool {
	_, err := os.Stat(filepath.Join(s.dir, dataFile))
	return !errors.Is(err, os.ErrNotExist)
}

// Open implements StoreModule.
func (s *EmbeddedStore) Open(func(error)) (consent.Store, error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	return boltstore.Open(filepath.Join(s.dir, dataFile), boltstore.Options{})
}

// Interface guards
var (
	_ caddy.Provisioner = (*EmbeddedStore)(nil)
	_ StoreModule       = (*EmbeddedStore)(nil)
)
