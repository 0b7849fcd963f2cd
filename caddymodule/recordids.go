package caddymodule

import (
	"slices"
	"time"

	"github.com/consentgate/consentgate/internal/deid"
	"github.com/consentgate/consentgate/internal/payload"
	"github.com/consentgate/consentgate/rules"
)

// recordIDs makes pseudonyms of a partner's own of the ids that records bear. An
// id that two partners got in one record would join all that they got. One that
// comes again, as when a client repeats itself, becomes the same one again.
type recordIDs struct {
	matcher *payload.Matcher
	vector  *payload.Vector
}

// defaultRecordIDs are where records usually bear their ids.
var defaultRecordIDs = []string{"id", "message_id", "event_id", "insert_id", "request_id"}

const recordIDsOff = "off"

// recordIDPaths returns where records for a recipient bear their ids.
func (f *Forward) recordIDPaths(rec *rules.Recipient) []string {
	switch {
	case slices.Equal(f.RecordIDs, []string{recordIDsOff}), f.RecordIDs == nil && rec.Kind == rules.FirstParty:
		return nil
	case f.RecordIDs != nil:
		return f.RecordIDs
	}
	return defaultRecordIDs
}

// newRecordIDs compiles the paths, anchored at the record. Without any it is nil.
func newRecordIDs(recipient string, paths []string) (*recordIDs, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	t, err := deid.New("pseudonym", map[string]any{"join": "record id"}, deid.Env{Recipient: recipient})
	if err != nil {
		return nil, err
	}
	m, err := payload.Compile(payload.Spec{Rules: []payload.Rule{{Category: 0, Paths: paths}}})
	if err != nil {
		return nil, err
	}
	v := m.NewVector([]payload.Action{{Op: payload.Transform, T: t}}, payload.Judgement{Keep: -1, Looks: payload.Off})
	return &recordIDs{m, v}, nil
}

// apply returns a record with its ids as the partner may have them. key is the
// partner's own; without one the ids go.
func (r *recordIDs) apply(body, key []byte) ([]byte, bool) {
	scan, err := r.matcher.Scan(body, payload.DefaultLimits)
	if err != nil {
		return nil, false
	}
	defer scan.Free()
	out, _, ok := scan.ApplyRecord(nil, 0, payload.Part{Vector: r.vector, Params: &payload.Params{Now: time.Now(), Key: key}})
	return slices.Clone(out), ok
}
