package caddymodule

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The files beside an embedded store that hold what was made at its first
// start, each readable by its owner alone.
const (
	secretFile = "consent.secret" // the root secret
	tokenFile  = "consent.token"  // the bearer token of the consent API
)

// readSecretFile reads a file of secrets; ok is false when there is none.
func readSecretFile(path string) (secret []byte, ok bool, err error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	b = bytes.TrimSpace(b)
	if len(b) < minSecret {
		return nil, false, fmt.Errorf("%s holds fewer than %d bytes; restore it from a backup, or delete it together with the data that it belongs to", path, minSecret)
	}
	return b, true, nil
}

// readOrMakeSecretFile reads a file of secrets, or makes one with a random
// secret. made is true when it was made just now.
func readOrMakeSecretFile(path string) (secret []byte, made bool, err error) {
	if secret, ok, err := readSecretFile(path); ok || err != nil {
		return secret, false, err
	}
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		return nil, false, err
	}
	secret = []byte(base64.RawURLEncoding.EncodeToString(raw))

	// Written aside and linked into place, so that no crash leaves half a
	// secret behind and no second process overwrites the first one's.
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return nil, false, err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(secret, '\n'))
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return nil, false, err
	}
	if err := os.Link(tmp.Name(), path); errors.Is(err, fs.ErrExist) {
		secret, _, err := readSecretFile(path)
		return secret, false, err
	} else if err != nil {
		return nil, false, err
	}
	return secret, true, syncDir(filepath.Dir(path))
}

// syncDir makes a new name in a directory survive a crash.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
