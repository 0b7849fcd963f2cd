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
	"sync"
	"sync/atomic"
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
	path    string
	opts    Options
	current atomic.Pointer[bolt.DB]
	swap    sync.RWMutex // held to change current, and shared by all that use it
	tried   atomic.Bool  // Compact has failed
	group   group
}

// Options say how a file is opened.
type Options struct {
	// Timeout is how long Open waits for another process to let go of the file.
	// Default: 2 s.
	Timeout time.Duration
	// Spare is how many bytes of free pages are too many (see Compact). Default:
	// 32 MiB.
	Spare int64
}

// Open opens the file at path and makes it, with its directory, if it is not
// there; only the owner may read either. prepare runs in the first transaction:
// it makes the buckets of a new file, and refuses a file of another format
// before anything is read from it. Errors begin with the path.
func Open(path string, opts Options, prepare func(*bolt.Tx) error) (*File, error) {
	if opts.Timeout <= 0 {
		opts.Timeout = 2 * time.Second
	}
	if opts.Spare <= 0 {
		opts.Spare = defaultSpare
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f := File{path: path, opts: opts}
	for deadline := time.Now().Add(opts.Timeout); ; {
		db, current, err := f.open()
		if errors.Is(err, berrors.ErrTimeout) || err == nil && !current && time.Now().After(deadline) {
			return nil, fmt.Errorf("%s %w", path, ErrLocked)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if current {
			f.current.Store(db)
			break
		}
	}
	// A copy that was never finished.
	if err := os.Remove(path + newSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	if err := errors.Join(os.Chmod(path, 0o600), f.Update(prepare), syncDir(dir)); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return &f, nil
}

// open opens the file and has its lock. It is not the current one, and is closed
// again, where Compact has put another in its place while this one waited for the
// lock: what is written to it nobody would find.
func (f *File) open() (db *bolt.DB, current bool, err error) {
	var file *os.File
	err = guard(func() (err error) {
		db, err = bolt.Open(f.path, 0o600, f.options(func(name string, flag int, mode os.FileMode) (*os.File, error) {
			var err error
			file, err = os.OpenFile(name, flag, mode)
			return file, err
		}))
		return err
	})
	if err != nil {
		return nil, false, err
	}
	opened, err := file.Stat()
	if err == nil {
		var named os.FileInfo
		if named, err = os.Stat(f.path); err == nil && os.SameFile(opened, named) {
			return db, true, nil
		}
	}
	if errors.Is(err, os.ErrNotExist) {
		err = nil // it was moved away, or deleted
	}
	return nil, false, errors.Join(err, db.Close())
}

// options are those of every file. open, where given, opens it.
func (f *File) options(open func(string, int, os.FileMode) (*os.File, error)) *bolt.Options {
	// The list of free pages is in the file (no NoFreelistSync): where it is not,
	// bbolt looks for them in a goroutine of its own, and one damaged page is a
	// panic that nobody can catch.
	return &bolt.Options{Timeout: f.opts.Timeout, FreelistType: bolt.FreelistMapType, OpenFile: open}
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
func (f *File) DB() *bolt.DB { return f.current.Load() }

// View reads in one transaction.
func (f *File) View(read func(*bolt.Tx) error) error {
	f.swap.RLock()
	defer f.swap.RUnlock()
	return guard(func() error { return f.current.Load().View(read) })
}

// Update writes in a transaction of its own. Commit is the way for what others
// do at the same time.
func (f *File) Update(write func(*bolt.Tx) error) error {
	f.swap.RLock()
	defer f.swap.RUnlock()
	return guard(func() error { return f.current.Load().Update(write) })
}

// Close waits for transactions that are under way, and closes the file. Closing
// again does nothing.
func (f *File) Close() error {
	f.swap.Lock()
	defer f.swap.Unlock()
	return f.current.Load().Close()
}

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
