// Package redisscript runs scripts that write to Redis, each at most once: on
// the master of its keys, with nothing loaded beforehand, and, where asked, not
// done before replicas have what was written.
//
// It knows nothing of what the scripts do.
package redisscript

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Script is a script in Lua. All its keys share a cluster slot.
type Script struct{ source, hash string }

// New returns a script. Nothing is loaded.
func New(source string) Script {
	return Script{source, redis.NewScript(source).Hash()}
}

// Runner runs scripts.
type Runner struct {
	Client redis.UniversalClient
	// Replicas is how many replicas must acknowledge what a script has written.
	Replicas int
	// ReplicaTimeout bounds the wait for them. It must be less than the
	// client's read timeout.
	ReplicaTimeout time.Duration
}

// Run runs a script on the master of its first key, by its digest where the
// server knows it, and then waits for the replicas. It is sent once: a script
// that timed out may have run. The reply may be set beside an error: the script
// has run then, and fewer replicas than asked have it. A reply of nil is the
// error redis.Nil.
func (r *Runner) Run(ctx context.Context, s Script, keys []string, args ...any) (any, error) {
	reply, err := r.eval(ctx, keys, args, "evalsha", s.hash)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		reply, err = r.eval(ctx, keys, args, "eval", s.source)
	}
	return reply, err
}

func (r *Runner) eval(ctx context.Context, keys []string, args []any, head ...any) (any, error) {
	head = append(head, len(keys))
	for _, k := range keys {
		head = append(head, k)
	}
	cmd := once{redis.NewCmd(ctx, append(head, args...)...)}
	if r.Replicas == 0 {
		// The error is also in the command, but not when none was sent.
		if err := r.Client.Process(ctx, cmd); err != nil {
			return nil, err
		}
		return cmd.Result()
	}

	// Twice more where the slot has just moved: nothing was applied then.
	for range 2 {
		reply, err := r.evalWait(ctx, keys[0], cmd)
		cluster, ok := r.Client.(*redis.ClusterClient)
		if !ok || !(redis.HasErrorPrefix(err, "MOVED") || redis.HasErrorPrefix(err, "READONLY")) {
			return reply, err
		}
		// This reads the slots anew, and waits for that.
		if err := cluster.ForEachMaster(ctx, func(context.Context, *redis.Client) error { return nil }); err != nil {
			return nil, err
		}
		cmd = once{redis.NewCmd(ctx, cmd.Args()...)}
	}
	return r.evalWait(ctx, keys[0], cmd)
}

// evalWait runs the command and WAIT in one pipeline, hence on one connection:
// WAIT speaks of the writes of its own connection.
func (r *Runner) evalWait(ctx context.Context, key string, cmd once) (any, error) {
	var pipe redis.Pipeliner
	switch c := r.Client.(type) {
	case *redis.ClusterClient:
		node, err := c.MasterForKey(ctx, key)
		if err != nil {
			return nil, err
		}
		pipe = node.Pipeline()
	default:
		pipe = c.Pipeline()
	}
	wait := redis.NewIntCmd(ctx, "wait", r.Replicas, r.ReplicaTimeout.Milliseconds())
	if err := errors.Join(pipe.Process(ctx, cmd), pipe.Process(ctx, wait)); err != nil {
		return nil, err
	}
	_, _ = pipe.Exec(ctx) // the errors are in the commands
	reply, err := cmd.Result()
	if err != nil {
		return nil, err
	}
	acks, err := wait.Result()
	if err == nil && acks < int64(r.Replicas) {
		err = fmt.Errorf("%d of %d replicas acknowledged in time", acks, r.Replicas)
	}
	return reply, err
}

// once is a command that the client must not send a second time by itself.
type once struct{ *redis.Cmd }

// NoRetry tells the client so.
func (once) NoRetry() bool { return true }
