package deliver

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"

	"github.com/consentgate/consentgate/internal/outbox"
)

// idempotencyKey returns the Idempotency-Key of a POST of records, as they were
// taken from the queue: what a recheck has taken out of them since counts as
// well, so that the repetition has the same key. It is a structured string (RFC
// 9651, 3.3.3), as draft-ietf-httpapi-idempotency-key-header-07 has it.
func idempotencyKey(f Format, records []outbox.Record) string {
	if f == Single && plain(records[0].Key) {
		return `"` + records[0].Key + `"`
	}
	h := sha256.New()
	var n [8]byte
	for i := range records {
		binary.BigEndian.PutUint64(n[:], uint64(len(records[i].Key)))
		h.Write(n[:])
		h.Write([]byte(records[i].Key))
	}
	return `"` + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16]) + `"`
}

// plain reports that a key can stand between quotes as it is.
func plain(key string) bool {
	return key != "" && len(key) <= 128 && strings.IndexFunc(key, func(r rune) bool {
		return r < ' ' || r > '~' || r == '"' || r == '\\'
	}) < 0
}
