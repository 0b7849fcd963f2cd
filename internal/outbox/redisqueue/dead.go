package redisqueue

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/consentgate/consentgate/internal/outbox"
	"github.com/consentgate/consentgate/internal/redisscript"
)

// Bounds of one command or script.
const (
	maxListed   = 1000
	replayChunk = 256
)

// letterID names a dead letter: the two numbers of its entry's id in the stream
// of its partition, and the partition. Letters are ordered by that.
type letterID struct {
	ms, seq   uint64
	partition int
}

// idForm is 12 and 16 hex digits and one decimal, so that the order of the texts
// is that of the letters.
const idForm = "%012x%016x-%d"

func (id letterID) String() string { return fmt.Sprintf(idForm, id.ms, id.seq, id.partition) }

// entry is the id in the stream.
func (id letterID) entry() string { return fmt.Sprintf("%d-%d", id.ms, id.seq) }

func (id letterID) compare(other letterID) int {
	return cmp.Or(cmp.Compare(id.ms, other.ms), cmp.Compare(id.seq, other.seq), cmp.Compare(id.partition, other.partition))
}

// parseLetterID reads what String has made, and nothing else.
func parseLetterID(s string) (letterID, bool) {
	if len(s) != 12+16+2 || s[28] != '-' {
		return letterID{}, false
	}
	ms, err1 := strconv.ParseUint(s[:12], 16, 64)
	seq, err2 := strconv.ParseUint(s[12:28], 16, 64)
	n, err3 := strconv.Atoi(s[29:])
	id := letterID{ms, seq, n}
	return id, err1 == nil && err2 == nil && err3 == nil && n < outbox.Partitions && id.String() == s
}

// letterIDOf is that of an entry.
func letterIDOf(entry string, n int) (letterID, bool) {
	ms, seq, _ := strings.Cut(entry, "-")
	a, err1 := strconv.ParseUint(ms, 10, 48)
	b, err2 := strconv.ParseUint(seq, 10, 64)
	return letterID{a, b, n}, err1 == nil && err2 == nil
}

// next is the first entry id of a partition that comes behind the letter; false:
// there is none.
func (id letterID) next(n int) (string, bool) {
	switch {
	case n > id.partition:
		return id.entry(), true
	case id.seq < math.MaxUint64:
		return letterID{ms: id.ms, seq: id.seq + 1}.entry(), true
	case id.ms < math.MaxUint64:
		return letterID{ms: id.ms + 1}.entry(), true
	}
	return "", false
}

// Dead implements [outbox.Queue]. Letters of different partitions are in the
// order of their servers' clocks. It lists a thousand at most.
func (q *Queue) Dead(ctx context.Context, partner, after string, limit int) ([]outbox.DeadLetter, error) {
	const doing = "listing dead letters"
	if err := q.ready(ctx, partner); err != nil {
		return nil, err
	}
	var last letterID
	if after != "" {
		var ok bool
		if last, ok = parseLetterID(after); !ok {
			return nil, fmt.Errorf("redis outbox: %w", outbox.ErrLetterID)
		}
	}
	if limit = min(limit, maxListed); limit <= 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, q.opts.Timeout)
	defer cancel()
	pipe := q.client.Pipeline()
	var pages [outbox.Partitions]*redis.XMessageSliceCmd
	for n := range outbox.Partitions {
		from, ok := "-", true
		if after != "" {
			from, ok = last.next(n)
		}
		if ok {
			pages[n] = pipe.XRangeN(ctx, partition{partner, n}.key(keyDead), from, "+", int64(limit))
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, q.failed(doing, err)
	}
	type letter struct {
		id letterID
		redis.XMessage
	}
	var found []letter
	for n, page := range pages {
		if page == nil {
			continue
		}
		for _, m := range page.Val() {
			id, ok := letterIDOf(m.ID, n)
			if !ok {
				return nil, q.failed(doing, errReply)
			}
			found = append(found, letter{id, m})
		}
	}
	slices.SortFunc(found, func(a, b letter) int { return a.id.compare(b.id) })
	found = found[:min(limit, len(found))]
	list := make([]outbox.DeadLetter, len(found))
	for i, l := range found {
		e, err := decode(partition{partner, l.id.partition}, l.XMessage)
		if err != nil {
			return nil, q.failed(doing, err)
		}
		text, _ := l.Values[fieldVerdict].(string)
		verdict, err := outbox.DecodeVerdict([]byte(text))
		if err != nil {
			return nil, q.failed(doing, err)
		}
		list[i] = outbox.DeadLetter{ID: l.id.String(), Record: e.Record, Verdict: verdict}
	}
	return list, nil
}

// replayScript puts dead letters back at the end of their partition.
//
//	KEYS  records, counts, dead
//	ARGV  "" and ids; or the id up to which all are meant, and how many at most
//
// It returns how many there were.
var replayScript = redisscript.New(`
local letters = {}
if ARGV[1] == '' then
  for i = 2, #ARGV do
    letters[#letters + 1] = redis.call('XRANGE', KEYS[3], ARGV[i], ARGV[i])[1]
  end
else
  letters = redis.call('XRANGE', KEYS[3], '-', ARGV[1], 'COUNT', ARGV[2])
end
local n = 0
for _, e in ipairs(letters) do
  if redis.call('XDEL', KEYS[3], e[1]) == 1 then
    redis.call('XADD', KEYS[1], '*', 'r', e[2][4], 's', e[2][6])
    redis.call('HINCRBY', KEYS[2], 'bytes', e[2][6])
    n = n + 1
  end
end
return n
`)

// Replay implements [outbox.Queue]. It is a script for each partition, and more
// of them for many letters: after an error, those that are counted are back.
func (q *Queue) Replay(ctx context.Context, partner string, ids ...string) (replayed int, err error) {
	if err := q.ready(ctx, partner); err != nil {
		return 0, err
	}
	if len(ids) == 0 {
		return q.replayAll(ctx, partner)
	}
	var entries [outbox.Partitions][]any
	for _, id := range ids {
		if l, ok := parseLetterID(id); ok {
			entries[l.partition] = append(entries[l.partition], l.entry())
		}
	}
	for n := range entries {
		for chunk := range slices.Chunk(entries[n], replayChunk) {
			back, err := q.replay(ctx, partition{partner, n}, append([]any{""}, chunk...)...)
			if err != nil {
				return replayed, err
			}
			replayed += back
		}
	}
	return replayed, nil
}

// replayAll replays what is dead by now: letters that die again meanwhile stay.
func (q *Queue) replayAll(ctx context.Context, partner string) (replayed int, err error) {
	for n := range outbox.Partitions {
		p := partition{partner, n}
		bounded, cancel := context.WithTimeout(ctx, q.opts.Timeout)
		last, err := q.client.XRevRangeN(bounded, p.key(keyDead), "+", "-", 1).Result()
		cancel()
		if err != nil {
			return replayed, q.failed("replaying", err)
		}
		for back := replayChunk; len(last) == 1 && back == replayChunk; {
			if back, err = q.replay(ctx, p, last[0].ID, replayChunk); err != nil {
				return replayed, err
			}
			replayed += back
		}
	}
	return replayed, nil
}

func (q *Queue) replay(ctx context.Context, p partition, args ...any) (int, error) {
	reply, err := q.run(ctx, replayScript, []string{p.key(keyRecords), p.key(keyCounts), p.key(keyDead)}, args...)
	if err != nil {
		return 0, q.failed("replaying", err)
	}
	n, ok := reply.(int64)
	if !ok {
		return 0, q.failed("replaying", errReply)
	}
	return int(n), nil
}
