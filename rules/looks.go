package rules

import (
	"sync"

	"github.com/consentgate/consentgate/internal/detect"
	"github.com/consentgate/consentgate/internal/payload"
)

// detector looks for the kinds that the categories of a policy ask for.
type detector struct{ want detect.Set }

// Possible implements payload.Detector.
func (d detector) Possible(text []byte) bool { return detect.Possible(text) }

// Append implements payload.Detector.
func (d detector) Append(dst []payload.Detected, text []byte) []payload.Detected {
	room := matches.Get().(*[]detect.Match)
	defer matches.Put(room)
	*room = detect.Append((*room)[:0], text, d.want)
	for _, m := range *room {
		dst = append(dst, payload.Detected{Start: m.Start, End: m.End, Kinds: uint32(m.Kinds)})
	}
	return dst
}

// matches are slices for what is found in one text.
var matches = sync.Pool{New: func() any { return new([]detect.Match) }}

// Number implements payload.Detector.
func (d detector) Number(text []byte) uint32 { return uint32(detect.Number(text, d.want)) }

// Pair implements payload.Detector.
func (d detector) Pair(a, b []byte) uint32 {
	if d.want.Has(detect.LatLng) && detect.Pair(a, b) {
		return uint32(detect.Set(0).With(detect.LatLng))
	}
	return 0
}

// kinds returns what a category's values are looked for by.
func (c *Category) kinds() (list []uint8) {
	for _, name := range c.Detect {
		if k, ok := detect.ByName(name); ok { // policy check knows no other names
			list = append(list, uint8(k))
		}
	}
	return list
}

// looks is what a recipient's `detect` says.
func (r *Recipient) looks() payload.Looks {
	switch r.Detect {
	case "report":
		return payload.ReportOnly
	case "off":
		return payload.Off
	}
	return payload.Apply
}

// Interface guards
var _ payload.Detector = detector{}
