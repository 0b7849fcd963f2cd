// Package rediscounter counts distinct subjects for combinations of
// quasi-identifiers in Redis 7.0 or newer, across all gateways: a
// [kanon.Counter]. Time is that of the server: the gateways' clocks do not
// matter.
//
// The combinations of a space are spread over 64 shards by their digests. A
// shard is a hash tag, and so a cluster slot; its keys are:
//
//	consent:kanon:{SPACE.SHARD}:COMBINATION  sorted set: digest of a subject → when it last showed the combination, in ms
//	consent:kanon:{SPACE.SHARD}:live         sorted set: COMBINATION → when its key expires, in ms
//
// SPACE, COMBINATION and the digests of subjects are keyed digests, 8, 16 and 8
// bytes; the names are written in base64url, the subjects in bytes. A
// combination has at most the k newest subjects, and its key expires with the
// window.
//
// A space's bound holds by shard, each of which has an equal share, so that one
// script can keep it on one slot. The digests spread evenly: with the default of
// 1,000,000 the first shard is full at about 980,000. A live combination with
// one subject takes some 350 bytes of memory, one with 20 some 750.
//
// The commands used are EVAL and EVALSHA, and in the script TIME, PEXPIRE, ZADD,
// ZCARD, ZREMRANGEBYRANK and ZREMRANGEBYSCORE; ACLKAnonymity of package
// redisstore is the right to them.
//
// The package must never know what a combination or a subject is, and must never
// count on a replica, which may know of fewer.
package rediscounter

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/consentgate/consentgate/internal/kanon"
)

// shards is how many parts a space has. Another number is other keys: what was
// counted is forgotten.
const shards = 64

const (
	// scriptCombinations bounds one script, during which the server does nothing
	// else: some 1 ms.
	scriptCombinations = 128
	// tripCombinations bounds what one round trip sends: well within the time
	// that clients wait for an answer.
	tripCombinations = 4096
)

// show notes and counts the combinations of one shard. Times from the future
// are of a clock that was ahead (of a master that failed, say); they are
// forgotten rather than counted for too long.
//
//	KEYS  live, combinations
//	ARGV  k, window in ms, bound of the shard; for each combination its name,
//	      and digests of subjects, 8 bytes each
//
// It returns the count of each combination, -1 for one that there was no room for.
var show = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local k, window, bound = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local tracked = redis.call('ZCARD', KEYS[1])
local counts, live = {}, {}
for i = 2, #KEYS do
  local key, members = KEYS[i], ARGV[2 * i + 1]
  local had = redis.call('ZCARD', key)
  if had == 0 and #members > 0 and tracked >= bound then
    counts[i - 1] = -1
  else
    local count = had
    if had > 0 then
      count = count - redis.call('ZREMRANGEBYSCORE', key, '-inf', now - window)
      count = count - redis.call('ZREMRANGEBYSCORE', key, '(' .. now, '+inf')
    end
    if #members > 0 then
      local add = {}
      for at = 1, #members, 8 do
        add[#add + 1] = now
        add[#add + 1] = string.sub(members, at, at + 7)
      end
      count = count + redis.call('ZADD', key, unpack(add))
      redis.call('PEXPIRE', key, window)
      live[#live + 1] = now + window
      live[#live + 1] = ARGV[2 * i]
      if had == 0 then
        tracked = tracked + 1
      end
    end
    if count > k then
      redis.call('ZREMRANGEBYRANK', key, 0, count - k - 1)
      count = k
    end
    counts[i - 1] = count
  end
end
if #live > 0 then
  redis.call('ZADD', KEYS[1], unpack(live))
  redis.call('PEXPIRE', KEYS[1], window)
end
return counts
`)

// Options are optional.
type Options struct {
	// Bound is how many combinations of one space are tracked at a time, 64 or
	// more. Default: [kanon.DefaultBound].
	Bound int
	// Timeout bounds each round trip. Default: 1 s. The client must honour
	// contexts (ContextTimeoutEnabled).
	Timeout time.Duration
}

// Counter is a [kanon.Counter] in Redis. Make one with [New].
type Counter struct {
	client  redis.UniversalClient
	bound   int // of a shard
	timeout time.Duration
}

var _ kanon.Counter = (*Counter)(nil)

// New returns a counter that speaks through client, which stays the caller's
// and must read from masters only. It does not connect.
func New(client redis.UniversalClient, opts Options) (*Counter, error) {
	if opts.Bound == 0 {
		opts.Bound = kanon.DefaultBound
	}
	if opts.Bound < shards {
		return nil, fmt.Errorf("k-anonymity: a bound of %d combinations: give %d or more", opts.Bound, shards)
	}
	if opts.Timeout <= 0 {
		opts.Timeout = time.Second
	}
	return &Counter{client: client, bound: opts.Bound / shards, timeout: opts.Timeout}, nil
}

// Show implements [kanon.Counter]: one script for each shard that the sightings
// touch, and one round trip (to each master of a cluster) for some 4096 of them.
func (c *Counter) Show(ctx context.Context, space kanon.Space, t kanon.Threshold, sightings []kanon.Sighting) (kanon.Counts, error) {
	if err := t.Check(); err != nil {
		return kanon.Counts{}, err
	}
	counts := kanon.Counts{Of: make([]int, len(sightings))}
	calls := c.calls(space, t, sightings)
	for len(calls) > 0 {
		n, combinations := 0, 0
		for ; n < len(calls) && combinations < tripCombinations; n++ {
			combinations += len(calls[n].sightings)
		}
		if err := c.run(ctx, calls[:n]); err != nil {
			return kanon.Counts{}, fmt.Errorf("redis: %w", err)
		}
		for _, call := range calls[:n] {
			if err := call.answer(&counts); err != nil {
				return kanon.Counts{}, fmt.Errorf("redis: %w", err)
			}
		}
		calls = calls[n:]
	}
	return counts, nil
}

// call is one run of the script.
type call struct {
	sightings []int // their indices, in the order of the combinations
	keys      []string
	args      []any
	reply     *redis.Cmd
}

// answer enters what the script replied.
func (c *call) answer(counts *kanon.Counts) error {
	replies, err := c.reply.Int64Slice()
	if err != nil {
		return err
	}
	if len(replies) != len(c.sightings) {
		return errors.New("the script gave no known reply")
	}
	for i, reply := range replies {
		if reply < 0 {
			counts.Untracked++
			reply = 0
		}
		counts.Of[c.sightings[i]] = int(reply)
	}
	return nil
}

// calls groups the sightings by shard.
func (c *Counter) calls(space kanon.Space, t kanon.Threshold, sightings []kanon.Sighting) []*call {
	var calls []*call
	var open [shards]*call
	name := base64.RawURLEncoding.EncodeToString(space[:])
	for i := range sightings {
		s := &sightings[i]
		shard := s.Combination[0] % shards
		to := open[shard]
		prefix := "consent:kanon:{" + name + "." + strconv.Itoa(int(shard)) + "}:"
		if to == nil || len(to.sightings) == scriptCombinations {
			to = &call{
				keys: []string{prefix + "live"},
				args: []any{t.K, t.Window.Milliseconds(), c.bound},
			}
			open[shard] = to
			calls = append(calls, to)
		}
		combination := base64.RawURLEncoding.EncodeToString(s.Combination[:])
		to.sightings = append(to.sightings, i)
		to.keys = append(to.keys, prefix+combination)
		to.args = append(to.args, combination, members(s.Members, t.K))
	}
	return calls
}

// members packs at most k digests.
func members(digests []kanon.Member, k int) []byte {
	digests = digests[:min(len(digests), k)]
	packed := make([]byte, 0, 8*len(digests))
	for _, d := range digests {
		packed = append(packed, d[:]...)
	}
	return packed
}

// run sends the calls in one pipeline, and those again, with the script itself,
// whose server did not know it. A script that ran twice has changed nothing
// that it would not have changed once, so that the client may repeat it.
func (c *Counter) run(ctx context.Context, calls []*call) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	pipe := c.client.Pipeline()
	for _, call := range calls {
		call.reply = show.EvalSha(ctx, pipe, call.keys, call.args...)
	}
	_, _ = pipe.Exec(ctx) // the errors are in the replies
	unknown := 0
	for _, call := range calls {
		switch err := call.reply.Err(); {
		case redis.HasErrorPrefix(err, "NOSCRIPT"):
			call.reply = show.Eval(ctx, pipe, call.keys, call.args...)
			unknown++
		case err != nil:
			return err
		}
	}
	if unknown == 0 {
		return nil
	}
	_, err := pipe.Exec(ctx)
	return err
}
