package deid

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
)

// subjectKeyLabel keeps these keys apart from all else that is derived from
// the root secret.
const subjectKeyLabel = "consentgate deid subject key v1\x00"

// SubjectKey derives the 32 bytes that [payload.Params] carries as Key: the
// secret from which one subject's pseudonyms for one recipient are made.
// It is HKDF-SHA-256 (RFC 5869) of the root secret with the subject's salt,
// and with recipient and epoch as its info.
//
//   - recipient is the recipient with its per value, if it has one
//     ("open_platform:CLIENT"), so that no two recipients can join what they
//     got;
//   - epoch counts the periods after which pseudonyms change;
//   - salt is the subject's own random salt. When a cancelled account's salt
//     is deleted, nobody can link its pseudonyms any more, the holder of root
//     included.
//
// Without root, recipient or salt there is no key: the result is nil, and
// what asks for a pseudonym is dropped.
func SubjectKey(root []byte, recipient string, epoch uint32, salt []byte) []byte {
	if len(root) == 0 || recipient == "" || len(salt) == 0 {
		return nil
	}
	// The label and the epoch have a fixed length, so no two inputs give one info.
	info := make([]byte, 0, len(subjectKeyLabel)+4+len(recipient))
	info = append(info, subjectKeyLabel...)
	info = binary.BigEndian.AppendUint32(info, epoch)
	info = append(info, recipient...)
	key, err := hkdf.Key(sha256.New, root, salt, string(info), sha256.Size)
	if err != nil {
		// Only a FIPS-only build fails, on a root that is too short for it.
		return nil
	}
	return key
}
