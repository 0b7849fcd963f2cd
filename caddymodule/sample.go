package caddymodule

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/consentgate/consentgate/internal/outbox"
)

// sample is a uniform sample of the records that have left for a partner since
// this process started, for an assessment of the risk that people are found in
// them (clause 5). What is in it is what the partner got.
type sample struct {
	most int // records; 0: none are kept

	mu    sync.Mutex
	seen  int64
	kept  []sampled
	bytes int
	last  [outbox.Partitions]string // the first key of the batch that each partition posted last
}

// sampled is one record of a sample.
type sampled struct {
	subject string // its keyed digest
	body    []byte
}

const (
	maxSample      = 100_000  // records
	maxSampleBytes = 64 << 20 // of them all; what is over is not sampled
	maxSampledBody = 256 << 10
)

// take has a batch that is about to leave take part in the sample, once however
// often it is posted.
func (s *sample) take(batch []outbox.Record, bodies [][]byte) {
	if s.most == 0 || len(batch) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	last := &s.last[outbox.Partition(batch[0].Subject)]
	if *last == batch[0].Key {
		return
	}
	*last = batch[0].Key
	for i, body := range bodies {
		if body == nil || len(body) > maxSampledBody {
			continue
		}
		s.seen++
		at := len(s.kept)
		if at == s.most {
			// Vitter's algorithm R: each has the same chance to be in it.
			n := rand.Int64N(s.seen)
			if n >= int64(s.most) {
				continue
			}
			at = int(n)
		}
		old := 0
		if at < len(s.kept) {
			old = len(s.kept[at].body)
		}
		if s.bytes+len(body)-old > maxSampleBytes {
			continue
		}
		s.bytes += len(body) - old
		one := sampled{batch[i].Subject, slices.Clone(body)}
		if at == len(s.kept) {
			s.kept = append(s.kept, one)
		} else {
			s.kept[at] = one
		}
	}
}

// all returns the sample, and of how many records it is one.
func (s *sample) all() ([]sampled, int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.kept), s.seen
}

// sampleSubject is the member that tells the records of a sample apart by subject.
const sampleSubject = "_subject"

// line is the record as a line, with a member that says which records are one
// person's: a digest that serves for that alone.
func (r sampled) line(key []byte) []byte {
	if len(r.body) < 2 || r.body[0] != '{' {
		return nil
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(r.subject))
	line := []byte(`{"` + sampleSubject + `":"`)
	line = base64.RawURLEncoding.AppendEncode(line, mac.Sum(nil)[:12])
	line = append(line, '"')
	if rest := r.body[1:]; len(rest) > 1 || rest[0] != '}' {
		line = append(line, ',')
	}
	return append(append(line, r.body[1:]...), '\n')
}
