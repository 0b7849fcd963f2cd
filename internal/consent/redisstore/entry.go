package redisstore

import (
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/consentgate/consentgate/internal/consent"
)

// fieldEntry is the one field of a message in a ledger: the entry as canonical
// JSON, from which its hash can be computed anew.
const fieldEntry = "entry"

// messageID is the id of the entry numbered seq.
func messageID(seq uint64) string { return strconv.FormatUint(seq, 10) + "-0" }

// decodeMessage reads an entry, and takes none that stands in another's place.
func decodeMessage(id consent.ID, m redis.XMessage) (consent.Entry, error) {
	b, ok := m.Values[fieldEntry].(string)
	if !ok || len(m.Values) != 1 {
		return consent.Entry{}, fmt.Errorf("%w: a message of a ledger holds no entry", consent.ErrCorrupt)
	}
	e, err := consent.DecodeEntry([]byte(b))
	if err != nil {
		return consent.Entry{}, err
	}
	if e.Subject != id || messageID(e.Seq) != m.ID {
		return consent.Entry{}, fmt.Errorf("%w: an entry stands in another's place", consent.ErrCorrupt)
	}
	return e, nil
}
