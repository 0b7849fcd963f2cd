package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/redisscript"
)

// ChannelChanged is the Pub/Sub channel on which a commit announces the ID of
// the subject whose state it changed.
const ChannelChanged = "consent:changed"

const (
	idempotencyTTL  = 24 * time.Hour
	idempotencyKept = 128
)

// commitScript is one commit. What can fail comes before the first write, since
// Redis does not undo what a script has done: the announcement (which nobody
// hears before the script has ended), then the entry, whose number must be
// greater than all before it.
//
// The state is written whole, in portions that unpack can take.
//
//	KEYS  state, ledger, idempotency
//	ARGV  version and head expected; channel and id to announce; digest of the
//	      idempotency key or "", how many to keep, ms to keep them; number of the
//	      entry, the entry; fields of the state
var commitScript = redisscript.New(`
local now = redis.call('HMGET', KEYS[1], 'version', 'head')
if (now[1] or '0') ~= ARGV[1] or (now[2] or '') ~= ARGV[2] then
  return 'conflict'
end
if ARGV[5] ~= '' and redis.call('ZSCORE', KEYS[3], ARGV[5]) then
  return 'conflict'
end
redis.call('PUBLISH', ARGV[3], ARGV[4])
redis.call('XADD', KEYS[2], ARGV[8] .. '-0', 'entry', ARGV[9])
redis.call('DEL', KEYS[1])
for i = 10, #ARGV, 1000 do
  redis.call('HSET', KEYS[1], unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
if ARGV[5] ~= '' then
  redis.call('ZADD', KEYS[3], ARGV[8], ARGV[5])
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - tonumber(ARGV[6]))
  redis.call('PEXPIRE', KEYS[3], ARGV[7])
end
return 'applied'
`)

// seenScript looks an idempotency key up by a write, so that WAIT after it
// covers the commit too: replicas apply writes in order.
//
//	KEYS  idempotency
//	ARGV  digest of the key, ms to keep it
var seenScript = redisscript.New(`
local seq = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not seq then
  return ''
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return string.format('%.0f', seq)
`)

// Commit implements [consent.Store]. It is one script on the subject's slot and
// needs nothing loaded beforehand. It is sent once: a script that timed out may
// have run, and sending it again could not tell its own trace from another
// writer's. Such an error is [ErrUncertain].
//
// A commit that was applied without being acknowledged shows to the retry as
// ErrConflict, since version and head have moved on, or since the idempotency
// key is taken: the retry then reads again and asks Seen.
func (s *Store) Commit(ctx context.Context, w consent.Write) error {
	if err := w.Check(); err != nil {
		return err
	}
	fields, err := consent.EncodeState(w.Next)
	if err != nil {
		return err
	}
	entry, err := consent.EncodeEntry(w.Entry)
	if err != nil {
		return err
	}
	key := ""
	if w.IdempotencyKey != "" {
		key = digest(w.IdempotencyKey)
	}
	args := append(make([]any, 0, 9+2*len(fields)),
		strconv.FormatUint(w.Prev.Version, 10), w.Prev.Head,
		ChannelChanged, string(w.ID),
		key, idempotencyKept, idempotencyTTL.Milliseconds(),
		strconv.FormatUint(w.Entry.Seq, 10), entry)
	for name, v := range fields {
		args = append(args, name, v)
	}

	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	reply, err := s.scripts.Run(ctx, commitScript, []string{stateKey(w.ID), ledgerKey(w.ID), idempotencyKey(w.ID)}, args...)
	switch {
	case reply == "conflict":
		return consent.ErrConflict
	case err == nil && reply == "applied":
		return nil
	case err == nil:
		err = errors.New("the script gave no known reply")
	}
	return s.failed("writing", fmt.Errorf("%w: %w", ErrUncertain, err))
}
