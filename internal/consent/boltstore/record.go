package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/consentgate/consentgate/internal/consent"
)

// A state is kept as the fields of consent.EncodeState:
//
//	01                       the form of the record
//	CRC-32C of the rest      4 bytes, big-endian
//	for each field by name: length of the name, name, length of the value, value
//
// Lengths are unsigned varints. bbolt has no checksum over its data, and a bit
// that turns in a field could turn "denied" into something else that decodes.
const recordForm = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encodeRecord(s consent.State) ([]byte, error) {
	fields, err := consent.EncodeState(s)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 5, 256)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		for _, s := range []string{name, fields[name]} {
			b = binary.AppendUvarint(b, uint64(len(s)))
			b = append(b, s...)
		}
	}
	b[0] = recordForm
	binary.BigEndian.PutUint32(b[1:], crc32.Checksum(b[5:], castagnoli))
	return b, nil
}

func decodeRecord(b []byte) (consent.State, error) {
	if len(b) < 5 || b[0] != recordForm || binary.BigEndian.Uint32(b[1:]) != crc32.Checksum(b[5:], castagnoli) {
		return consent.State{}, fmt.Errorf("%w: a state does not have its checksum", consent.ErrCorrupt)
	}
	fields := make(map[string]string)
	for rest := b[5:]; len(rest) > 0; {
		var pair [2]string
		for i := range pair {
			n, size := binary.Uvarint(rest)
			if size <= 0 || n > uint64(len(rest)-size) {
				return consent.State{}, fmt.Errorf("%w: a state ends early", consent.ErrCorrupt)
			}
			pair[i] = string(rest[size : size+int(n)])
			rest = rest[size+int(n):]
		}
		fields[pair[0]] = pair[1]
	}
	s, err := consent.DecodeState(fields)
	if err == nil && s.Version == 0 {
		err = errors.New("a state without a version")
	}
	if err != nil {
		return consent.State{}, fmt.Errorf("%w: %w", consent.ErrCorrupt, err)
	}
	return s, nil
}

func getState(b *bolt.Bucket, id consent.ID) (consent.State, error) {
	if id == "" {
		return consent.State{}, nil // bbolt has no empty keys
	}
	v := b.Get([]byte(id))
	if v == nil {
		return consent.State{}, nil
	}
	return decodeRecord(v)
}

// getEntry decodes an entry and checks that it is the one that the key names.
func getEntry(id consent.ID, k, v []byte) (consent.Entry, error) {
	e, err := consent.DecodeEntry(v)
	if err != nil {
		return consent.Entry{}, err
	}
	if e.Subject != id || !bytes.Equal(k, ledgerKey(id, e.Seq)) {
		return consent.Entry{}, fmt.Errorf("%w: a ledger entry stands under another's key", consent.ErrCorrupt)
	}
	return e, nil
}

// checkID refuses ids whose keys could run into another's, or that bbolt would
// refuse in the midst of a transaction that others share.
func checkID(id consent.ID) error {
	if id == "" || len(id) > 256 || strings.IndexByte(string(id), 0) >= 0 {
		return errors.New("the embedded consent store: no subject has such an ID")
	}
	return nil
}

// subjectKey is the key of something of a subject. The zero byte ends the ID,
// so that no subject's keys are found under another's prefix.
func subjectKey(id consent.ID, rest []byte) []byte {
	k := make([]byte, 0, len(id)+1+len(rest))
	return append(append(append(k, id...), 0), rest...)
}

func ledgerKey(id consent.ID, seq uint64) []byte {
	return subjectKey(id, binary.BigEndian.AppendUint64(nil, seq))
}

// hasPrefix is false for nil, which is a cursor's end.
func hasPrefix(k, prefix []byte) bool { return k != nil && bytes.HasPrefix(k, prefix) }
