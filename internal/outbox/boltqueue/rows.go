package boltqueue

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	bolt "go.etcd.io/bbolt"

	"github.com/consentgate/consentgate/internal/outbox"
)

// partnerKey begins the keys of all that is a partner's. The NUL ends the name,
// so that nothing is found under another's prefix.
func partnerKey(partner string) []byte {
	return append(append(make([]byte, 0, len(partner)+1+1+8), partner...), 0)
}

// partitionKey begins the keys of a partition's records, and is that of its row.
func partitionKey(key partKey) []byte {
	return append(partnerKey(key.partner), byte(key.partition))
}

func numbered(prefix []byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(bytes.Clone(prefix), n)
}

// number is the number at the end of a key.
func number(k []byte) uint64 { return binary.BigEndian.Uint64(k[len(k)-8:]) }

// hasPrefix is false for nil, which is a cursor's end, and for a key that is
// not numbered below the prefix.
func hasPrefix(k, prefix []byte) bool {
	return len(k) == len(prefix)+8 && bytes.HasPrefix(k, prefix)
}

// damaged says which record is damaged, by its number: no key of a subject.
func damaged(k []byte, err error) error {
	partner, _, _ := bytes.Cut(k, []byte{0})
	return fmt.Errorf("the embedded outbox, partner %q, number %d: %w", partner, number(k), err)
}

// row is what is in one partition.
type row struct {
	last    uint64 // number of the record that came last, ever
	flight  uint64 // number of the last record ever taken: those up to it that are there are the batch under way
	records uint64
	bytes   uint64 // by Record.Size
}

func getRow(tx *bolt.Tx, key partKey) (row, error) {
	var r row
	err := get(tx.Bucket(bucketPartitions), partitionKey(key), &r.last, &r.flight, &r.records, &r.bytes)
	return r, err
}

func putRow(tx *bolt.Tx, key partKey, r row) error {
	return put(tx.Bucket(bucketPartitions), partitionKey(key), r.last, r.flight, r.records, r.bytes)
}

// remove takes a record of that size out of the counts.
func (r *row) remove(size int) error {
	if r.records == 0 || r.bytes < uint64(size) {
		return fmt.Errorf("%w: a partition holds more than it counts", outbox.ErrCorrupt)
	}
	r.records--
	r.bytes -= uint64(size)
	return nil
}

// letters is how many dead letters a partner has, and had.
type letters struct {
	last      uint64 // number of the letter that came last, ever
	dead      uint64
	forgotten uint64
}

func getLetters(tx *bolt.Tx, partner string) (letters, error) {
	var l letters
	err := get(tx.Bucket(bucketPartners), partnerKey(partner), &l.last, &l.dead, &l.forgotten)
	return l, err
}

func putLetters(tx *bolt.Tx, partner string, l letters) error {
	return put(tx.Bucket(bucketPartners), partnerKey(partner), l.last, l.dead, l.forgotten)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// get reads numbers that put has written: a checksum, and 8 bytes each. Where
// there is nothing they stay zero.
func get(b *bolt.Bucket, k []byte, fields ...*uint64) error {
	v := b.Get(k)
	if v == nil {
		return nil
	}
	if len(v) != 4+8*len(fields) || binary.BigEndian.Uint32(v) != crc32.Checksum(v[4:], castagnoli) {
		return fmt.Errorf("%w: what a partition counts", outbox.ErrCorrupt)
	}
	for i, f := range fields {
		*f = binary.BigEndian.Uint64(v[4+8*i:])
	}
	return nil
}

func put(b *bolt.Bucket, k []byte, fields ...uint64) error {
	v := make([]byte, 4, 4+8*len(fields))
	for _, f := range fields {
		v = binary.BigEndian.AppendUint64(v, f)
	}
	binary.BigEndian.PutUint32(v, crc32.Checksum(v[4:], castagnoli))
	return b.Put(k, v)
}
