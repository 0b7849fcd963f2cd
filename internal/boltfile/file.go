// Package boltfile opens a bbolt file as a program must that keeps in it what it
// has acknowledged: exclusive to this process and readable to its owner alone,
// its name as durable as its content, damaged pages an error of the call and not
// the end of the process, and commits that share an fsync.
//
// It knows nothing of what is in the file.
package boltfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Errors to be told apart with errors.Is.
var (
	// ErrLocked: another process has the file open.
	ErrLocked = errors.New("is locked: is another consentgate using it?")
	// ErrDamaged: pages of the file are not what bbolt has written.
	ErrDamaged = errors.New("the file's pages make no sense")
	// ErrClosed: the file is closed.
	ErrClosed = errors.New("the file is closed")
)

// File is an open file. Use Open to make one.
type File struct {
	db    *bolt.DB
	group group
}

// Options say how a file is opened.
type Options struct {
	// Timeout is how long Open waits for another process to let go of the file.
	// Default: 2 s.
	Timeout time.Duration
}

// Open opens the file at path and makes it, with its directory, if it is not
// there; only the owner may read either. prepare runs in the first transaction:
// it makes the buckets of a new file, and refuses a file of another format
// before anything is read from it. Errors begin with the path.
func Open(path string, opts Options, prepare func(*bolt.Tx) error) (*File, error) {
	if opts.Timeout <= 0 {
		opts.Timeout = 2 * time.Second
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var f File
	err := guard(func() (err error) {
		// The list of free pages is in the file (no NoFreelistSync): where it is
		// not, bbolt looks for them in a goroutine of its own, and one damaged
		// page is a panic that nobody can catch.
		f.db, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout:      opts.Timeout,
			FreelistType: bolt.FreelistMapType,
		})
		return err
	})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("%s %w", path, ErrLocked)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := errors.Join(os.Chmod(path, 0o600), f.Update(prepare), syncDir(dir)); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.db.Close())
	}
	return &f, nil
}

// syncDir makes the name of a new file durable: what was acknowledged in a file
// that nobody finds again is lost.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// DB returns the file for what this package does not do. Its panics over
// damaged pages are the caller's then.
func (f *File) DB() *bolt.DB { return f.db }

// View reads in one transaction.
func (f *File) View(read func(*bolt.Tx) error) error {
	return guard(func() error { return f.db.View(read) })
}

// Update writes in a transaction of its own. Commit is the way for what others
// do at the same time.
func (f *File) Update(write func(*bolt.Tx) error) error {
	return guard(func() error { return f.db.Update(write) })
}

// Close waits for transactions that are under way, and closes the file. Closing
// again does nothing.
func (f *File) Close() error { return f.db.Close() }

// guard runs a transaction. bbolt panics over pages that make no sense; that
// must be the end of the call, not of the gateway.
func guard(transaction func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = ErrDamaged // what bbolt says would hold keys
		}
	}()
	if err = transaction(); errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}
