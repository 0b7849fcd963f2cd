package boltfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

// Every commit writes the list of the file's free pages, 8 bytes for each: once a
// backlog of 100 MB has come and gone that is 400 KB, and nine times the CPU time of
// a commit, for good. bbolt gives no page back to the file system. So a file that is
// almost empty is written anew.
const (
	defaultSpare = 32 << 20
	sparePerUsed = 32       // as many times as what is in use must be free
	maxCopied    = 32 << 20 // bytes: everything waits for the copy
)

// newSuffix is that of the file that is to take the old one's place.
const newSuffix = ".new"

// Compact writes the file anew if almost all of it is free, and reports whether it
// did. All that would read or write meanwhile waits: for some ms, or some hundred
// where that much is in use. After an error the file is as it was, and that is not
// tried again; where even that cannot be said, the file is closed, and every later call
// fails. Whoever uses DB must not call it.
func (f *File) Compact() (done bool, err error) {
	if f.tried.Load() || !f.sparse() {
		return false, nil
	}
	f.swap.Lock()
	defer f.swap.Unlock()
	if f.tried.Load() || !f.sparse() { // another was faster
		return false, nil
	}
	if err := f.compact(); err != nil {
		f.tried.Store(true)
		return false, fmt.Errorf("%s: writing it anew: %w", f.path, err)
	}
	return true, nil
}

// sparse reports whether a copy is worth its while. It looks at no page but the first
// ones.
func (f *File) sparse() (sparse bool) {
	_ = guard(func() error {
		return f.current.Load().View(func(tx *bolt.Tx) error {
			stats := tx.DB().Stats()
			spare := int64(stats.FreePageN+stats.PendingPageN) * int64(tx.DB().Info().PageSize)
			used := tx.Size() - spare
			sparse = spare >= f.opts.Spare && used <= spare/sparePerUsed && used <= maxCopied
			return nil
		})
	})
	return sparse // of a file that is closed, or damaged, it is false
}

// compact copies what is in use to a new file, and puts that in the place of the old
// one. Nothing is read or written meanwhile.
func (f *File) compact() error {
	old, name := f.current.Load(), f.path+newSuffix
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	fresh, err := bolt.Open(name, 0o600, f.options(nil))
	if err != nil {
		return err
	}
	giveUp := func(err error) error {
		return errors.Join(err, fresh.Close(), os.Remove(name))
	}
	fresh.NoSync = true // once, at the end
	if err := guard(func() error { return bolt.Compact(fresh, old, 1<<20) }); err != nil {
		return giveUp(err)
	}
	if err := fresh.Sync(); err != nil {
		return giveUp(err)
	}
	fresh.NoSync = false
	// From here on the old name leads to the new file, whose lock this process
	// has. Others that wait for the old one's find out (see Open).
	if err := os.Rename(name, f.path); err != nil {
		return giveUp(err)
	}
	if err := syncDir(filepath.Dir(f.path)); err != nil {
		// After a power cut the name may lead to either. What is acknowledged now
		// could be in the wrong one.
		return errors.Join(err, fresh.Close(), old.Close())
	}
	f.current.Store(fresh)
	_ = old.Close() // nobody will read it again
	return nil
}
