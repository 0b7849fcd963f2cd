package rules

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"time"

	"github.com/consentgate/consentgate/internal/deid"
	"github.com/consentgate/consentgate/internal/payload"
)

// Pseudonyms says when the keys of a recipient's pseudonyms change, so that
// nobody's can be followed for ever. The zero Pseudonyms never changes them.
type Pseudonyms struct {
	Length  time.Duration // of an epoch; 0: there is only one
	Overlap time.Duration // after an epoch's end: when subjects still change over

	recipient string
}

// switchLabel keeps the moments apart from all else that is derived from a salt.
const switchLabel = "consentgate pseudonym epoch v1\x00"

// Epoch returns the number of the epoch whose key makes a subject's pseudonyms
// at a moment: how many epochs have passed since 1970-01-01 UTC, or one less as
// long as the subject has not yet changed over. salt is the subject's own.
//
// Did all subjects change at once, the partner would see all old pseudonyms end
// and all new ones begin in one instant, and whoever is active on both sides of
// it could be joined; and all of the partner's state would be void on one day.
// So each changes at a moment within the overlap that is its own, different for
// each recipient and each epoch, and unknown without its salt.
func (p Pseudonyms) Epoch(now time.Time, salt []byte) uint32 {
	since := now.Sub(time.Unix(0, 0))
	if p.Length <= 0 || since < p.Length {
		return 0
	}
	n, into := uint32(since/p.Length), since%p.Length
	if into < p.Overlap && into < p.moment(n, salt) {
		return n - 1
	}
	return n
}

// moment returns how far into an epoch a subject changes over to it: at least 0
// and less than Overlap.
func (p Pseudonyms) moment(epoch uint32, salt []byte) time.Duration {
	msg := append(make([]byte, 0, 128), switchLabel...)
	msg = binary.BigEndian.AppendUint32(msg, epoch)
	msg = binary.BigEndian.AppendUint32(msg, uint32(len(p.recipient)))
	msg = append(msg, p.recipient...)
	msg = append(msg, salt...)
	sum := sha256.Sum256(msg)
	hi, _ := bits.Mul64(binary.BigEndian.Uint64(sum[:]), uint64(p.Overlap))
	return time.Duration(hi)
}

func compilePseudonyms(r *recipient) Pseudonyms {
	if r.pseudonyms == nil {
		return Pseudonyms{}
	}
	p := Pseudonyms{Length: spanOf(r.pseudonyms.epoch), Overlap: spanOf(r.pseudonyms.overlap), recipient: r.id.s}
	if r.pseudonyms.overlap.s == "" {
		p.Overlap = p.Length / 10
	}
	return p
}

func (c *checker) pseudonyms(r *recipient) {
	w := r.pseudonyms
	if w == nil {
		return
	}
	const day = 24 * time.Hour
	if c.inSpan(w.epoch, "epoch", day, 400*day, "1d to 400d") && w.overlap.s != "" {
		c.inSpan(w.overlap, "overlap", time.Second, spanOf(w.epoch)/2, "half of the epoch of "+w.epoch.s+" at most")
	}
	for _, rule := range c.p.byName[r.id.s].rules {
		for _, e := range rule.entries {
			if keyed(e.action) {
				return
			}
		}
	}
	c.j.add(w.at, "no entry of %s makes a pseudonym, so there is nothing to change: take pseudonyms away", r.id.s)
}

// keyed reports whether an action makes something of the subject's own key.
func keyed(a payload.Action) bool {
	_, is := a.T.(payload.Keyed)
	return is
}

// identifying are the transforms whose result still names whoever it was made of.
func identifying(name string) bool {
	for _, d := range deid.Docs() {
		if d.Name == name {
			return d.Identifying
		}
	}
	return false
}
