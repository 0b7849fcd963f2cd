package outbox

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"strings"
	"time"
)

// ErrCorrupt: a record in the queue is not what was put there. It is never
// delivered, and what is behind it waits until an operator has looked.
var ErrCorrupt = errors.New("a record of the outbox is damaged")

// CheckPartner refuses the names of partners whose keys could run into
// another's, or be unreadable: those of policies (letters, digits and a few
// signs) all pass.
func CheckPartner(name string) error {
	if name == "" || len(name) > 256 || strings.ContainsAny(name, "{}\x00") {
		return errors.New("the outbox: the name of a partner is 1 to 256 bytes, without braces or NUL")
	}
	return nil
}

// A record is kept, by every engine, as
//
//	01                          the form of the record
//	CRC-32C of the rest         4 bytes, big-endian
//	At                          nanoseconds since 1970, 8 bytes, big-endian
//	Key, Subject, Release       each the length, an unsigned varint, and the bytes
//	Body                        to the end
//
// The checksum is there since neither bbolt nor an append-only file has one of
// its own, and since a bit that turns in a release would release something else.
const (
	recordForm   = 1
	recordHeader = 1 + 4
)

// noTime is At of a record that has none.
const noTime = math.MinInt64

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendRecord appends the form in which engines keep a record to dst. At must be
// between the years 1678 and 2262, or zero; of its location nothing is kept.
func AppendRecord(dst []byte, r *Record) []byte {
	start := len(dst)
	dst = append(dst, recordForm, 0, 0, 0, 0)
	dst = appendTime(dst, r.At)
	dst = appendBytes(dst, r.Key)
	dst = appendBytes(dst, r.Subject)
	dst = appendBytes(dst, r.Release)
	dst = append(dst, r.Body...)
	binary.BigEndian.PutUint32(dst[start+1:], crc32.Checksum(dst[start+recordHeader:], castagnoli))
	return dst
}

func appendBytes[T string | []byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendTime(dst []byte, t time.Time) []byte {
	at := int64(noTime)
	if !t.IsZero() {
		at = t.UnixNano()
	}
	return binary.BigEndian.AppendUint64(dst, uint64(at))
}

func decodeTime(b []byte) time.Time {
	at := int64(binary.BigEndian.Uint64(b))
	if at == noTime {
		return time.Time{}
	}
	return time.Unix(0, at).UTC()
}

// DecodeRecord reads what AppendRecord has made. Anything else is ErrCorrupt.
// Release and Body are slices of b.
func DecodeRecord(b []byte) (Record, error) {
	if len(b) < recordHeader+8 || b[0] != recordForm ||
		binary.BigEndian.Uint32(b[1:]) != crc32.Checksum(b[recordHeader:], castagnoli) {
		return Record{}, ErrCorrupt
	}
	r := Record{At: decodeTime(b[recordHeader:])}
	rest := b[recordHeader+8:]
	var parts [3][]byte
	for i := range parts {
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > uint64(len(rest)-size) {
			return Record{}, ErrCorrupt
		}
		end := size + int(n)
		parts[i], rest = rest[size:end:end], rest[end:]
	}
	r.Key, r.Subject, r.Release, r.Body = string(parts[0]), string(parts[1]), parts[2], rest
	return r, nil
}

// VerdictSize is how long a verdict is that AppendVerdict has made.
const VerdictSize = 4 + 4 + 8

// AppendVerdict appends the form in which engines keep a verdict, before the
// record that it is on: CRC-32C of the rest, status (4 bytes), At.
func AppendVerdict(dst []byte, v Verdict) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(v.Status))
	dst = appendTime(dst, v.At)
	binary.BigEndian.PutUint32(dst[start:], crc32.Checksum(dst[start+4:], castagnoli))
	return dst
}

// DecodeVerdict reads what AppendVerdict has made. Anything else is ErrCorrupt.
func DecodeVerdict(b []byte) (Verdict, error) {
	if len(b) != VerdictSize || binary.BigEndian.Uint32(b) != crc32.Checksum(b[4:], castagnoli) {
		return Verdict{}, ErrCorrupt
	}
	return Verdict{Status: int(binary.BigEndian.Uint32(b[4:])), At: decodeTime(b[8:])}, nil
}
