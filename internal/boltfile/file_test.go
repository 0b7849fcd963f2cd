package boltfile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

var bucket = []byte("b")

func prepare(tx *bolt.Tx) error {
	_, err := tx.CreateBucketIfNotExists(bucket)
	return err
}

func open(t testing.TB, path string, opts Options) *File {
	t.Helper()
	f, err := Open(path, opts, prepare)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func get(t testing.TB, f *File, key string) (v string) {
	t.Helper()
	if err := f.View(func(tx *bolt.Tx) error { v = string(tx.Bucket(bucket).Get([]byte(key))); return nil }); err != nil {
		t.Fatal(err)
	}
	return v
}

func put(key string) Apply {
	return func(tx *bolt.Tx) (_, failed error) { return nil, tx.Bucket(bucket).Put([]byte(key), []byte(key)) }
}

func TestACommitThatIsRefusedLeavesTheOthers(t *testing.T) {
	f := open(t, filepath.Join(t.TempDir(), "dir", "x.db"), Options{})
	no := errors.New("no")
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			if i%2 == 0 {
				if err := f.Commit(put(fmt.Sprint(i))); err != nil {
					t.Error(err)
				}
			} else if err := f.Commit(func(*bolt.Tx) (error, error) { return no, nil }); !errors.Is(err, no) {
				t.Errorf("refused with %v", err)
			}
		})
	}
	wg.Wait()
	for i := 0; i < 200; i += 2 {
		if k := fmt.Sprint(i); get(t, f, k) != k {
			t.Errorf("%s is not there", k)
		}
	}
}

// Those that wait while one is written share the next transaction, and its fate.
func TestCommitsThatWaitShareATransaction(t *testing.T) {
	f := open(t, filepath.Join(t.TempDir(), "x.db"), Options{})
	begun, goOn := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f.Commit(func(*bolt.Tx) (error, error) { close(begun); <-goOn; return nil, nil }); err != nil {
			t.Error(err)
		}
	})
	<-begun
	broken := errors.New("broken")
	errs := make(chan error, 3)
	for _, apply := range []Apply{put("before"), func(*bolt.Tx) (error, error) { return nil, broken }, put("behind")} {
		wg.Go(func() { errs <- f.Commit(apply) })
	}
	// All three wait by now, or will: none can be written before the first is.
	for waiting := 0; waiting < 3; {
		f.group.mu.Lock()
		waiting = len(f.group.waiting)
		f.group.mu.Unlock()
	}
	close(goOn)
	wg.Wait()
	for range 3 {
		if err := <-errs; !errors.Is(err, broken) {
			t.Errorf("one of the transaction that failed has %v", err)
		}
	}
	if get(t, f, "before") != "" || get(t, f, "behind") != "" {
		t.Error("a transaction that failed has left something")
	}
	if err := f.Commit(put("later")); err != nil || get(t, f, "later") == "" {
		t.Errorf("the next commit: %v", err)
	}
}

func TestOnlyTheOwnerMayReadTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "x.db")
	open(t, path, Options{}).Close()
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	open(t, path, Options{})
	for p, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		info, err := os.Stat(p)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %o, %v", filepath.Base(p), info.Mode(), want, err)
		}
	}
}

func TestErrorsSayWhatIsWrong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	f := open(t, path, Options{})
	if _, err := Open(path, Options{Timeout: time.Millisecond}, prepare); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("a second Open: %v", err)
	}
	if err := f.Commit(func(*bolt.Tx) (error, error) { panic("a page") }); !errors.Is(err, ErrDamaged) || strings.Contains(err.Error(), "a page") {
		t.Errorf("a panic: %v", err)
	}
	f.Close()
	if err := f.Commit(put("k")); !errors.Is(err, ErrClosed) {
		t.Errorf("Commit to a closed file: %v", err)
	}
	if err := f.View(func(*bolt.Tx) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("View of a closed file: %v", err)
	}
}

// Whatever page of the file is lost, what was written is read, or an error is.
func TestALostPageIsAnErrorAndNoPanic(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db")
	f := open(t, path, Options{})
	for i := range 20 {
		if err := f.Commit(func(tx *bolt.Tx) (_, failed error) {
			return nil, tx.Bucket(bucket).Put([]byte(fmt.Sprint(i)), bytes.Repeat([]byte{1}, 1000))
		}); err != nil {
			t.Fatal(err)
		}
	}
	f.Close()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page, found := os.Getpagesize(), 0
	for at := 2 * page; at < len(file); at += page {
		damaged := bytes.Clone(file)
		clear(damaged[at : at+page])
		lost := filepath.Join(dir, fmt.Sprintf("without-%d.db", at/page))
		if err := os.WriteFile(lost, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := Open(lost, Options{}, prepare)
		if err == nil {
			err = f.View(func(tx *bolt.Tx) error {
				return tx.Bucket(bucket).ForEach(func(_, v []byte) error {
					if len(v) != 1000 {
						return errors.New("a value is cut")
					}
					return nil
				})
			})
			f.Close()
		}
		if err != nil {
			found++
		}
	}
	if found == 0 {
		t.Error("no page was missed")
	}
}
