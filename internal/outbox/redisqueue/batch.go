package redisqueue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/consentgate/consentgate/internal/outbox"
	"github.com/consentgate/consentgate/internal/redisscript"
)

// held begins the scripts that only the lease's holder may run. KEYS[1] is the
// stream, KEYS[2] the lease, ARGV[1] the token.
const held = `
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 'lost'
end
local function read(...)
  local reply = redis.pcall('XREADGROUP', 'GROUP', 'delivery', 'gateway', ...)
  if reply and reply.err then
    if not string.find(reply.err, 'NOGROUP', 1, true) then
      return reply
    end
    redis.call('XGROUP', 'CREATE', KEYS[1], 'delivery', '0', 'MKSTREAM')
    reply = redis.call('XREADGROUP', 'GROUP', 'delivery', 'gateway', ...)
  end
  return reply and reply[1][2] or {}
end
`

// pendingScript returns the batch under way. An entry that is gone, since an
// operator has deleted it, is no part of it any more.
//
//	KEYS  records, lease
//	ARGV  token
var pendingScript = redisscript.New(held + `
local pending = read('STREAMS', KEYS[1], '0')
if pending.err then
  return pending
end
local batch = {}
for _, e in ipairs(pending) do
  if e[2] then
    batch[#batch + 1] = e
  else
    redis.call('XACK', KEYS[1], 'delivery', e[1])
  end
end
return batch
`)

// takeScript makes the first records the batch under way, up to one of them.
// Those that were dropped since they were read are not among them. It returns
// how many are.
//
//	KEYS  records, lease
//	ARGV  token, id of the last, how many there were
var takeScript = redisscript.New(held + `
local n = #redis.call('XRANGE', KEYS[1], '-', ARGV[2], 'COUNT', ARGV[3])
if n == 0 then
  return 0
end
local batch = read('COUNT', n, 'STREAMS', KEYS[1], '>')
if batch.err then
  return batch
end
return #batch
`)

// doneScript takes the batch out, and buries those of it that are dead and still
// there. The bytes of an empty partition are none, whatever an operator did.
//
//	KEYS  records, lease, counts, dead
//	ARGV  token, how many letters to keep; of each record: id, size, verdict or ""
var doneScript = redisscript.New(held + `
local gone, died = 0, false
for i = 3, #ARGV, 3 do
  local id, size, verdict = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if verdict ~= '' then
    local e = redis.call('XRANGE', KEYS[1], id, id)[1]
    if e then
      redis.call('XADD', KEYS[4], '*', 'v', verdict, 'r', e[2][2], 's', size)
      died = true
    end
  end
  redis.call('XACK', KEYS[1], 'delivery', id)
  gone = gone + redis.call('XDEL', KEYS[1], id) * tonumber(size)
end
if redis.call('XLEN', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[3], 'bytes', 0)
else
  redis.call('HINCRBY', KEYS[3], 'bytes', string.format('%.0f', 0 - gone))
end
if died then
  local over = redis.call('XTRIM', KEYS[4], 'MAXLEN', ARGV[2])
  redis.call('HINCRBY', KEYS[3], 'forgotten', over)
end
return 'done'
`)

// Batch implements [outbox.Lease].
func (l *lease) Batch(ctx context.Context, limit outbox.Limit) ([]outbox.Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if err := l.alive(); err != nil {
			return nil, err
		}
		batch, err := l.pending(ctx)
		if err == nil && len(batch) == 0 {
			if batch, err = l.gather(ctx, limit); err == nil {
				batch, err = l.take(ctx, batch)
			}
		}
		if err != nil {
			return nil, err
		}
		if len(batch) == 0 {
			continue // all of it was dropped before it could be taken
		}
		l.batch = batch
		records := make([]outbox.Record, len(batch))
		for i := range batch {
			records[i] = batch[i].Record
		}
		return records, nil
	}
}

// pending reads what is left of the batch under way, unless there is none for
// sure.
func (l *lease) pending(ctx context.Context) ([]entry, error) {
	if l.idle {
		return nil, nil
	}
	const doing = "reading the batch under way"
	reply, err := l.fenced(ctx, doing, pendingScript, l.keys(keyRecords, keyLease))
	if err != nil {
		return nil, err
	}
	list, ok := reply.([]any)
	if !ok {
		return nil, l.q.failed(doing, errReply)
	}
	batch := make([]entry, len(list))
	for i, item := range list {
		m, err := message(item)
		if err == nil {
			batch[i], err = decode(l.partition, m)
		}
		if err != nil {
			return nil, l.q.failed(doing, err)
		}
	}
	l.idle = len(batch) == 0
	return batch, nil
}

// message is an entry of a stream as a script returns it.
func message(item any) (redis.XMessage, error) {
	pair, _ := item.([]any)
	if len(pair) != 2 {
		return redis.XMessage{}, errReply
	}
	id, _ := pair[0].(string)
	fields, _ := pair[1].([]any)
	m := redis.XMessage{ID: id, Values: make(map[string]any, len(fields)/2)}
	for i := 0; i+1 < len(fields); i += 2 {
		name, _ := fields[i].(string)
		m.Values[name] = fields[i+1]
	}
	return m, nil
}

// How long one read waits, so that a context that ends is noticed soon, and how
// many records the first one asks for.
const (
	maxBlock  = 250 * time.Millisecond
	firstRead = 16
)

// gather waits until there is a batch by the limit. It only looks: take decides.
func (l *lease) gather(ctx context.Context, limit outbox.Limit) (batch []entry, err error) {
	g := outbox.NewGather(limit)
	more := false // the last read was cut short
	for !g.Full() {
		if err := errors.Join(l.alive(), ctx.Err()); err != nil {
			return nil, err
		}
		block := maxBlock
		if more {
			block = -1 // do not wait
		} else if len(batch) > 0 {
			wait := g.Wait(time.Now())
			if wait <= 0 {
				break
			}
			block = max(min(block, wait), time.Millisecond) // 0 is for ever
		}
		last := "0-0"
		if len(batch) > 0 {
			last = batch[len(batch)-1].id
		}
		want := g.Want(max(firstRead, 4*len(batch)))
		messages, err := l.read(ctx, last, want, block)
		if err != nil {
			return nil, err
		}
		more = len(messages) == want
		for _, m := range messages {
			e, err := decode(l.partition, m)
			if err != nil {
				return nil, l.q.failed("reading records", err)
			}
			if !g.Add(&e.Record, time.Now()) {
				break
			}
			batch = append(batch, e)
		}
	}
	return batch, nil
}

// read reads what is behind an id. It returns nothing when there is nothing.
func (l *lease) read(ctx context.Context, last string, count int, block time.Duration) ([]redis.XMessage, error) {
	bounded, cancel := context.WithTimeout(ctx, max(block, 0)+l.q.opts.Timeout)
	defer cancel()
	streams, err := l.q.waiting.XRead(bounded, &redis.XReadArgs{
		Streams: []string{l.key(keyRecords), last}, Count: int64(count), Block: block,
	}).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case err != nil && ended(ctx) != nil:
		return nil, ended(ctx)
	case err != nil:
		return nil, l.q.failed("reading records", err)
	case len(streams) != 1:
		return nil, l.q.failed("reading records", errReply)
	}
	return streams[0].Messages, nil
}

// take makes what was gathered the batch under way, but for what was dropped
// meanwhile, which is from its front.
func (l *lease) take(ctx context.Context, batch []entry) ([]entry, error) {
	const doing = "taking a batch"
	l.idle = false // whatever comes of it
	reply, err := l.fenced(ctx, doing, takeScript, l.keys(keyRecords, keyLease), batch[len(batch)-1].id, len(batch))
	if err != nil {
		return nil, err
	}
	n, ok := reply.(int64)
	if !ok || n < 0 || n > int64(len(batch)) {
		return nil, l.q.failed(doing, errReply)
	}
	return batch[len(batch)-int(n):], nil
}

// Done implements [outbox.Lease].
func (l *lease) Done(ctx context.Context, dead map[int]outbox.Verdict) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.alive(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := outbox.CheckDone(len(l.batch), dead); err != nil {
		return fmt.Errorf("redis outbox: %w", err)
	}
	args := make([]any, 0, 1+3*len(l.batch))
	args = append(args, max(1, l.q.opts.DeadLetters/outbox.Partitions))
	for i := range l.batch {
		e := &l.batch[i]
		var verdict []byte
		if v, is := dead[i]; is {
			verdict = outbox.AppendVerdict(nil, v)
		}
		args = append(args, e.id, e.Size(), verdict)
	}
	const doing = "taking a batch out"
	reply, err := l.fenced(ctx, doing, doneScript, l.keys(keyRecords, keyLease, keyCounts, keyDead), args...)
	if err != nil {
		return err
	}
	if reply != "done" {
		return l.q.failed(doing, errReply)
	}
	l.batch, l.idle = nil, true
	return nil
}

func (l *lease) keys(names ...string) []string {
	for i, name := range names {
		names[i] = l.key(name)
	}
	return names
}

// fenced runs a script that only the lease's holder may run.
func (l *lease) fenced(ctx context.Context, doing string, s redisscript.Script, keys []string, args ...any) (any, error) {
	reply, err := l.q.run(ctx, s, keys, append([]any{l.token}, args...)...)
	switch {
	case err != nil && ended(ctx) != nil:
		return nil, ended(ctx)
	case err != nil:
		return nil, l.q.failed(doing, err)
	case reply == "lost":
		l.end()
		if l.q.isClosed() {
			return nil, outbox.ErrClosed
		}
		return nil, outbox.ErrLost
	}
	return reply, nil
}
