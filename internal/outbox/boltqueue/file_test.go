package boltqueue

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/consentgate/consentgate/internal/boltfile"
	"github.com/consentgate/consentgate/internal/outbox"
)

var (
	roomy = outbox.Bound{Bytes: 1 << 30}
	soon  = outbox.Limit{Count: 1000, Bytes: 1 << 24}
)

// some makes records without a subject, which are all in one partition.
func some(from, n, size int) []outbox.Record {
	rs := make([]outbox.Record, n)
	for i := range rs {
		rs[i] = outbox.Record{Key: fmt.Sprint(from + i), Body: bytes.Repeat([]byte("x"), size), At: time.Now()}
	}
	return rs
}

var unnamed = outbox.Partition("")

func enter(t testing.TB, q *Queue, rs []outbox.Record) {
	t.Helper()
	if _, err := q.Append(t.Context(), "adx", roomy, rs); err != nil {
		t.Fatal(err)
	}
}

func hold(t testing.TB, q *Queue) outbox.Lease {
	t.Helper()
	l, err := q.Lease(t.Context(), "adx", unnamed)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestASecondOpenSaysWhoMayHaveTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "outbox.db")
	open(t, path, Options{})
	if _, err := Open(path, Options{Timeout: time.Millisecond}); !errors.Is(err, boltfile.ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestAFileOfAnotherFormatIsNotOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "outbox.db")
	q := open(t, path, Options{})
	change := func(f func(*bolt.Tx) error) {
		t.Helper()
		if err := q.file.Update(f); err != nil {
			t.Fatal(err)
		}
		q.Close()
	}
	change(func(tx *bolt.Tx) error { return tx.DeleteBucket(bucketDead) })
	if _, err := Open(path, Options{}); !errors.Is(err, outbox.ErrCorrupt) || !strings.Contains(err.Error(), `"dead"`) {
		t.Errorf("without a bucket: %v", err)
	}
	path = filepath.Join(t.TempDir(), "outbox.db")
	q = open(t, path, Options{})
	change(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyFormat, []byte("2")) })
	if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), `format "2"`) {
		t.Errorf("of another format: %v", err)
	}
}

// A turned bit anywhere in what is kept is an error, and never another record.
func TestADamagedRecordIsAnErrorAndNotDelivered(t *testing.T) {
	q := open(t, filepath.Join(t.TempDir(), "outbox.db"), Options{})
	secret := []outbox.Record{{Key: "k", Body: []byte(`{"phone":"13800138000"}`), At: time.Now()}}
	enter(t, q, secret)
	enter(t, q, some(0, 3, 10))
	l := hold(t, q)
	if _, err := l.Batch(t.Context(), outbox.Limit{Count: 1}); err != nil {
		t.Fatal(err)
	}
	if err := l.Done(t.Context(), map[int]outbox.Verdict{0: {Status: 400}}); err != nil {
		t.Fatal(err)
	}
	enter(t, q, secret)
	for name, tc := range map[string]struct {
		bucket []byte
		call   func() error
	}{
		"records":    {bucketRecords, func() error { _, err := l.Batch(t.Context(), soon); return err }},
		"partitions": {bucketPartitions, func() error { _, err := l.Batch(t.Context(), soon); return err }},
		"dead":       {bucketDead, func() error { _, err := q.Dead(t.Context(), "adx", "", 10); return err }},
		"replay":     {bucketDead, func() error { _, err := q.Replay(t.Context(), "adx"); return err }},
		"partners":   {bucketPartners, func() error { _, err := q.Stats(t.Context(), "adx"); return err }},
	} {
		var key, value []byte
		if err := q.file.View(func(tx *bolt.Tx) error {
			k, v := tx.Bucket(tc.bucket).Cursor().Last()
			key, value = bytes.Clone(k), bytes.Clone(v)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		write := func(v []byte) {
			t.Helper()
			if err := q.file.Update(func(tx *bolt.Tx) error { return tx.Bucket(tc.bucket).Put(key, v) }); err != nil {
				t.Fatal(err)
			}
		}
		for i := range value {
			bad := bytes.Clone(value)
			bad[i] ^= 1
			write(bad)
			if err := tc.call(); !errors.Is(err, outbox.ErrCorrupt) || strings.Contains(err.Error(), "138") {
				t.Fatalf("%s, byte %d: %v", name, i, err)
			}
		}
		write(value)
	}
	if rs, err := l.Batch(t.Context(), soon); err != nil || len(rs) != 4 {
		t.Errorf("mended, it gives %d records, %v", len(rs), err)
	}
}

// Whatever page of the file is lost, what is read is what was written, or an
// error is.
func TestALostPageIsAnErrorAndNoRecord(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "outbox.db")
	q := open(t, path, Options{})
	enter(t, q, some(0, 40, 400))
	q.Close()
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
		q, err := Open(lost, Options{})
		if err != nil {
			found++
			continue
		}
		if rs, err := hold(t, q).Batch(t.Context(), outbox.Limit{Count: 40, Bytes: 1 << 20}); err != nil {
			found++
		} else if len(rs) != 40 || rs[39].Key != "39" {
			t.Errorf("without page %d there are %d records", at/page, len(rs))
		}
		q.Close()
	}
	if found == 0 {
		t.Error("no page was missed")
	}
}

// Pages of what was delivered are used again.
func TestTheFileDoesNotGrowWithoutEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "outbox.db")
	q := open(t, path, Options{})
	l := hold(t, q)
	size := func() int64 {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	var early int64
	for i := range 60 {
		enter(t, q, some(i*100, 100, 1000))
		if rs, err := l.Batch(t.Context(), soon); err != nil || len(rs) != 100 {
			t.Fatalf("%d records, %v", len(rs), err)
		}
		if err := l.Done(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if i == 9 {
			early = size()
		}
	}
	if late := size(); late > early {
		t.Errorf("%d bytes after 10 rounds, %d after 60", early, late)
	}
}

// Nor does it stay large once a backlog has gone: every commit would write the list of
// its free pages.
func TestTheFileIsSmallAgainAfterABacklog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "outbox.db")
	q := open(t, path, Options{})
	l := hold(t, q)
	const rounds = 20
	for i := range rounds {
		enter(t, q, some(i*1000, 1000, 1000))
	}
	for i := range rounds {
		rs, err := l.Batch(t.Context(), soon)
		if err != nil || len(rs) != 1000 || rs[0].Key != fmt.Sprint(i*1000) {
			t.Fatalf("%d records, %v", len(rs), err)
		}
		if err := l.Done(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 8<<20 {
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
	enter(t, q, some(rounds*1000, 1, 10))
	q.Close()
	q = open(t, path, Options{})
	if rs, err := hold(t, q).Batch(t.Context(), outbox.Limit{Count: 1}); err != nil || len(rs) != 1 || rs[0].Key != fmt.Sprint(rounds*1000) {
		t.Errorf("%v, %v", rs, err)
	}
}
