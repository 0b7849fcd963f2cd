package redisqueue

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/consentgate/consentgate/internal/outbox"
	"github.com/consentgate/consentgate/internal/redisscript"
)

// appendScript adds records to partitions, all or none. What could refuse comes
// before the first write. A record of the batch under way that makes room is no
// longer pending.
//
//	KEYS  of each partition: records, counts
//	ARGV  "1" to drop the oldest, bytes that each may hold; of each partition:
//	      number of its records, their bytes, and of each of them: record, size
//
// It returns how many were dropped, or -1 when there is no room, and the ids.
var appendScript = redisscript.New(`
local drop, share = ARGV[1] == '1', tonumber(ARGV[2])
local have, at = {}, 3
for g = 1, #KEYS / 2 do
  local n, bytes = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  have[g] = tonumber(redis.call('HGET', KEYS[2 * g], 'bytes') or '0')
  if bytes > share or have[g] + bytes > share and not drop then
    return {-1}
  end
  at = at + 2 + 2 * n
end
local reply = {0}
at = 3
for g = 1, #KEYS / 2 do
  local records, n, bytes = KEYS[2 * g - 1], tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  while have[g] + bytes > share do
    local oldest = redis.call('XRANGE', records, '-', '+', 'COUNT', 16)
    if #oldest == 0 then
      have[g] = 0
    end
    for _, e in ipairs(oldest) do
      if have[g] + bytes <= share then
        break
      end
      have[g] = have[g] - tonumber(e[2][4])
      redis.call('XACK', records, 'delivery', e[1])
      redis.call('XDEL', records, e[1])
      reply[1] = reply[1] + 1
    end
  end
  at = at + 2
  for i = 1, n do
    reply[#reply + 1] = redis.call('XADD', records, '*', 'r', ARGV[at], 's', ARGV[at + 1])
    at = at + 2
  end
  redis.call('HSET', KEYS[2 * g], 'bytes', string.format('%.0f', have[g] + bytes))
end
return reply
`)

// undoScript takes records back out that nobody has seen.
//
//	KEYS  records, counts
//	ARGV  of each: id, size
//
// It returns how many there were.
var undoScript = redisscript.New(`
local n = 0
for i = 1, #ARGV, 2 do
  local id = ARGV[i]
  local pending = redis.pcall('XPENDING', KEYS[1], 'delivery', id, id, 1)
  if pending.err or #pending == 0 then
    if redis.call('XDEL', KEYS[1], id) == 1 then
      redis.call('HINCRBY', KEYS[2], 'bytes', '-' .. ARGV[i + 1])
      n = n + 1
    end
  end
end
return n
`)

// share is what one request has for one partition.
type share struct {
	partition
	args  []any // record, size
	bytes int64
}

// Append implements [outbox.Queue]. On one server it is one script, which adds
// all of the records or none. In a cluster it is one for each partition, at
// once; where one of them refuses, what the others have added is taken out
// again. A script is sent once: after an error other than ErrFull the records
// may have been added.
func (q *Queue) Append(ctx context.Context, partner string, bound outbox.Bound, records []outbox.Record) (dropped int, err error) {
	if err := q.ready(ctx, partner); err != nil {
		return 0, err
	}
	if len(records) == 0 {
		return 0, nil
	}
	shares := q.split(partner, records)
	for i := range shares {
		if shares[i].bytes > bound.Share() {
			return 0, outbox.ErrFull
		}
	}
	if _, cluster := q.client.(*redis.ClusterClient); cluster && len(shares) > 1 {
		return q.appendApart(ctx, bound, shares)
	}
	dropped, _, err = q.add(ctx, bound, shares)
	return dropped, err
}

// split tells the partitions' shares apart, in the order of the records.
func (q *Queue) split(partner string, records []outbox.Record) []share {
	var all [outbox.Partitions]share
	for i := range records {
		r := &records[i]
		s := &all[outbox.Partition(r.Subject)]
		s.args = append(s.args, outbox.AppendRecord(nil, r), r.Size())
		s.bytes += int64(r.Size())
	}
	shares := make([]share, 0, len(all))
	for n := range all {
		if all[n].args != nil {
			all[n].partition = partition{partner, n}
			shares = append(shares, all[n])
		}
	}
	return shares
}

// add adds shares with one script, and returns the ids of the records.
func (q *Queue) add(ctx context.Context, bound outbox.Bound, shares []share) (dropped int, ids []string, err error) {
	drop := "0"
	if bound.DropOldest {
		drop = "1"
	}
	keys := make([]string, 0, 2*len(shares))
	args := []any{drop, bound.Share()}
	for i := range shares {
		s := &shares[i]
		keys = append(keys, s.key(keyRecords), s.key(keyCounts))
		args = append(append(args, len(s.args)/2, s.bytes), s.args...)
	}
	const doing = "appending"
	reply, err := q.run(ctx, appendScript, keys, args...)
	switch {
	case err != nil && ended(ctx) != nil:
		return 0, nil, ended(ctx)
	case err != nil:
		return 0, nil, q.failed(doing, err)
	}
	list, _ := reply.([]any)
	if len(list) == 0 {
		return 0, nil, q.failed(doing, errReply)
	}
	n, ok := list[0].(int64)
	switch {
	case !ok:
		return 0, nil, q.failed(doing, errReply)
	case n < 0:
		return 0, nil, outbox.ErrFull
	}
	for _, id := range list[1:] {
		text, _ := id.(string)
		ids = append(ids, text)
	}
	return int(n), ids, nil
}

// appendApart adds each share with a script of its own.
func (q *Queue) appendApart(ctx context.Context, bound outbox.Bound, shares []share) (dropped int, err error) {
	var wg sync.WaitGroup
	lost, ids, errs := make([]int, len(shares)), make([][]string, len(shares)), make([]error, len(shares))
	for i := range shares {
		wg.Go(func() { lost[i], ids[i], errs[i] = q.add(ctx, bound, shares[i:i+1]) })
	}
	wg.Wait()
	full := false
	var others []error
	for i := range shares {
		dropped += lost[i]
		if errors.Is(errs[i], outbox.ErrFull) {
			full = true
		} else if errs[i] != nil {
			others = append(others, errs[i])
		}
	}
	if !full {
		return dropped, errors.Join(others...)
	}
	for i := range shares {
		if errs[i] == nil {
			others = append(others, q.undo(ctx, &shares[i], ids[i]))
		}
	}
	if err := errors.Join(others...); err != nil {
		return 0, err
	}
	return 0, outbox.ErrFull
}

// undo takes out what was added. It is an error when a consumer was faster.
func (q *Queue) undo(ctx context.Context, s *share, ids []string) error {
	const doing = "taking back what another partition has no room for"
	args := make([]any, 0, 2*len(ids))
	for i, id := range ids {
		args = append(args, id, s.args[2*i+1])
	}
	reply, err := q.run(context.WithoutCancel(ctx), undoScript, []string{s.key(keyRecords), s.key(keyCounts)}, args...)
	if err != nil {
		return q.failed(doing, err)
	}
	if n, _ := reply.(int64); int(n) != len(ids) {
		return q.failed(doing, fmt.Errorf("%d of %d records are with a consumer already", len(ids)-int(n), len(ids)))
	}
	return nil
}
