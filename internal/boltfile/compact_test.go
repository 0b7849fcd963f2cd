package boltfile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// swell puts some MiB into a file and takes them out again.
func swell(t testing.TB, f *File, mib int) {
	t.Helper()
	key := func(i int) []byte { return fmt.Append(nil, "swollen ", i) }
	for from := 0; from < mib; from += 8 {
		if err := f.Update(func(tx *bolt.Tx) error {
			for i := range 8 << 10 {
				if err := tx.Bucket(bucket).Put(key(from<<10+i), make([]byte, 1<<10)); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for from := 0; from < mib; from += 8 {
		if err := f.Update(func(tx *bolt.Tx) error {
			for i := range 8 << 10 {
				if err := tx.Bucket(bucket).Delete(key(from<<10 + i)); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func size(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	return info.Size()
}

func compacted(t testing.TB, f *File, want bool) {
	t.Helper()
	if done, err := f.Compact(); err != nil || done != want {
		t.Fatalf("compacted %t, %v", done, err)
	}
}

func TestAFileThatIsAlmostEmptyIsWrittenAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	f := open(t, path, Options{})
	if err := f.Commit(put("kept")); err != nil {
		t.Fatal(err)
	}
	compacted(t, f, false)
	swell(t, f, 8)
	compacted(t, f, false) // it is not worth it
	swell(t, f, 24)
	before := size(t, path)
	compacted(t, f, true)
	if after := size(t, path); after > before/8 {
		t.Errorf("%d bytes became %d", before, after)
	}
	compacted(t, f, false)
	if v := get(t, f, "kept"); v != "kept" {
		t.Errorf("%q", v)
	}
	if err := f.Commit(put("later")); err != nil {
		t.Fatal(err)
	}
	// It is locked as the old one was.
	if _, err := Open(path, Options{Timeout: time.Millisecond}, prepare); !errors.Is(err, ErrLocked) {
		t.Errorf("opened again: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	compacted(t, f, false)
	f = open(t, path, Options{})
	if get(t, f, "kept") != "kept" || get(t, f, "later") != "later" {
		t.Error("what was there is gone")
	}
}

// Who waited for the old file's lock does not get that file, which has no name any more.
func TestWhoWaitsForTheLockGetsTheNewFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	f := open(t, path, Options{Spare: 1 << 20})
	swell(t, f, 8)
	opened := make(chan *File, 1)
	go func() {
		next, err := Open(path, Options{Timeout: 30 * time.Second}, prepare)
		if err != nil {
			t.Error(err)
		}
		opened <- next
	}()
	until(t, "the other has opened the old file", func() bool { return openFiles(t, path) == 2 })
	compacted(t, f, true)
	if err := f.Commit(put("after")); err != nil {
		t.Fatal(err)
	}
	until(t, "it has let go of the old file", func() bool { return openFiles(t, path+" (deleted)") == 0 })
	until(t, "it has opened the new one", func() bool { return openFiles(t, path) == 2 })
	select {
	case <-opened:
		t.Fatal("two have it")
	default:
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	next := <-opened
	defer next.Close()
	if get(t, next, "after") != "after" {
		t.Error("it is the old file")
	}
}

// openFiles counts the files that this process has open under a name.
func openFiles(t testing.TB, path string) (n int) {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range all {
		if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); to == path {
			n++
		}
	}
	return n
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// All that is going on meanwhile waits, and loses nothing.
func TestCommitsGoOnWhileTheFileIsWrittenAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	f := open(t, path, Options{Spare: 1 << 20})
	stop := make(chan struct{})
	var all sync.WaitGroup
	var counts [4]int
	for w := range counts {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := f.Commit(put(fmt.Sprint(w, "-", counts[w]))); err != nil {
					t.Error(err)
					return
				}
				if get(t, f, fmt.Sprint(w, "-", counts[w])) == "" {
					t.Error("it is not there")
				}
				counts[w]++
			}
		})
	}
	for range 3 {
		swell(t, f, 8)
		compacted(t, f, true)
	}
	close(stop)
	all.Wait()
	f.Close()
	f = open(t, path, Options{})
	for w, n := range counts {
		for i := range n {
			if key := fmt.Sprint(w, "-", i); get(t, f, key) != key {
				t.Fatalf("%s is lost", key)
			}
		}
	}
}

func TestACopyThatFailsLeavesTheFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db")
	f := open(t, path, Options{Spare: 1 << 20})
	if err := f.Commit(put("kept")); err != nil {
		t.Fatal(err)
	}
	swell(t, f, 8)
	// Where the copy belongs there is what cannot be removed.
	if err := os.MkdirAll(filepath.Join(path+newSuffix, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if done, err := f.Compact(); done || err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("compacted %t, %v", done, err)
	}
	compacted(t, f, false) // once is enough
	if err := f.Commit(put("later")); err != nil || get(t, f, "kept") != "kept" || get(t, f, "later") != "later" {
		t.Errorf("afterwards: %v", err)
	}
}

// childFile, when set, makes the test binary a process that fills and compacts that
// file until it is killed. It tells on standard output what it has committed.
const childFile = "CONSENT_BOLTFILE_TEST_FILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(childFile); path != "" {
		f, err := Open(path, Options{Spare: 1 << 20}, prepare)
		for i := 0; err == nil; i++ {
			key := fmt.Sprint(os.Getpid(), "-", i)
			if err = f.Commit(put(key)); err == nil {
				fmt.Println(key)
				swell(new(testing.T), f, 8)
				_, err = f.Compact()
			}
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// A process that is killed while it writes the file anew leaves the old one or the
// new one, and both have what was committed.
func TestAKillAmidACopyLosesNothing(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.db")
	var said bytes.Buffer
	left := false
	for round := range 8 {
		c := exec.Command(self)
		c.Env = append(os.Environ(), childFile+"="+path)
		var out bytes.Buffer
		c.Stdout, c.Stderr = &out, os.Stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		// Killed once there is a copy in the making: the first, or a later one.
		copies, was := 0, true
		until(t, "a copy is made", func() bool {
			_, err := os.Stat(path + newSuffix)
			if err == nil && !was {
				copies++
			}
			was = err == nil
			return copies > round%3
		})
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait() // it was killed, and that is its error
		said.Write(out.Bytes())
		if _, err := os.Stat(path + newSuffix); err == nil {
			left = true
		}
	}
	f := open(t, path, Options{})
	n := 0
	for _, key := range strings.Fields(said.String()) {
		if n++; get(t, f, key) != key {
			t.Errorf("%s is lost", key)
		}
	}
	if n < 8 || !left {
		t.Errorf("only %d were committed; a copy was left: %t", n, left)
	}
	if _, err := os.Stat(path + newSuffix); err == nil {
		t.Error("the copy is still there")
	}
}
