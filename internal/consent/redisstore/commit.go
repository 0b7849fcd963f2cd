package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/consentgate/consentgate/internal/consent"
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
var commitScript = newScript(`
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
var seenScript = newScript(`
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
	reply, err := s.run(ctx, commitScript, []string{stateKey(w.ID), ledgerKey(w.ID), idempotencyKey(w.ID)}, args...)
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

type script struct{ source, hash string }

func newScript(source string) script {
	return script{source, redis.NewScript(source).Hash()}
}

// run runs a script on the master of its keys, by its digest where the server
// knows it, and then waits for the replicas. The reply may be set beside an
// error: the script has run then, and fewer replicas than asked have it.
func (s *Store) run(ctx context.Context, sc script, keys []string, args ...any) (string, error) {
	reply, err := s.eval(ctx, keys, args, "evalsha", sc.hash)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		reply, err = s.eval(ctx, keys, args, "eval", sc.source)
	}
	return reply, err
}

func (s *Store) eval(ctx context.Context, keys []string, args []any, head ...any) (string, error) {
	head = append(head, len(keys))
	for _, k := range keys {
		head = append(head, k)
	}
	cmd := once{redis.NewCmd(ctx, append(head, args...)...)}
	if s.opts.Replicas == 0 {
		// The error is also in the command, but not when none was sent.
		if err := s.client.Process(ctx, cmd); err != nil {
			return "", err
		}
		return cmd.Text()
	}

	// Twice more where the slot has just moved: nothing was applied then.
	for range 2 {
		reply, err := s.evalWait(ctx, keys[0], cmd)
		cluster, ok := s.client.(*redis.ClusterClient)
		if !ok || !(redis.HasErrorPrefix(err, "MOVED") || redis.HasErrorPrefix(err, "READONLY")) {
			return reply, err
		}
		// This reads the slots anew, and waits for that.
		if err := cluster.ForEachMaster(ctx, func(context.Context, *redis.Client) error { return nil }); err != nil {
			return "", err
		}
		cmd = once{redis.NewCmd(ctx, cmd.Args()...)}
	}
	return s.evalWait(ctx, keys[0], cmd)
}

// evalWait runs the command and WAIT in one pipeline, hence on one connection:
// WAIT speaks of the writes of its own connection.
func (s *Store) evalWait(ctx context.Context, key string, cmd once) (string, error) {
	var pipe redis.Pipeliner
	switch c := s.client.(type) {
	case *redis.ClusterClient:
		node, err := c.MasterForKey(ctx, key)
		if err != nil {
			return "", err
		}
		pipe = node.Pipeline()
	default:
		pipe = c.Pipeline()
	}
	wait := redis.NewIntCmd(ctx, "wait", s.opts.Replicas, s.opts.ReplicaTimeout.Milliseconds())
	if err := errors.Join(pipe.Process(ctx, cmd), pipe.Process(ctx, wait)); err != nil {
		return "", err
	}
	_, _ = pipe.Exec(ctx) // the errors are in the commands
	reply, err := cmd.Text()
	if err != nil {
		return "", err
	}
	acks, err := wait.Result()
	if err == nil && acks < int64(s.opts.Replicas) {
		err = fmt.Errorf("%d of %d replicas acknowledged in time", acks, s.opts.Replicas)
	}
	return reply, err
}

// once is a command that the client must not send a second time by itself.
type once struct{ *redis.Cmd }

// NoRetry tells the client so.
func (once) NoRetry() bool { return true }
