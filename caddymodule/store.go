package caddymodule

import "github.com/consentgate/consentgate/internal/consent"

// storeNamespace is where store modules are registered.
const storeNamespace = "consent.stores"

// StoreModule is a module in the namespace consent.stores: a place where the
// decisions of subjects are kept.
type StoreModule interface {
	// Key tells stores apart: two modules with the same key open the same
	// store, and share it across a reload of the configuration. It holds no
	// secret in the clear.
	Key() string
	// Dir is a directory that belongs to the store alone, in which secrets may
	// be kept that were made at the first start; empty: there is none, and all
	// secrets have to be given.
	Dir() string
	// Open opens the store. It does not wait for a server to answer: a store
	// that cannot be reached yet answers every call with an error, and whoever
	// asks it fails closed. report is told, each time, why the link to the
	// store went down or did not come up.
	Open(report func(error)) (consent.Store, error)
}
