package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/consentgate/consentgate/internal/consent"
)

// keyCheck holds the check value of the root secret that the data belong to.
const keyCheck = "consent:check"

// ACLRetire is the right that [Store.Subjects] needs beyond those of the API's
// user. SCAN shows the names of all keys of the database, whoever they belong
// to, so nobody should have it for longer than it takes.
const ACLRetire = "+scan"

// errMoved: keys may have gone from a node not yet seen to one seen before.
var errMoved = errors.New("the cluster's slots have moved meanwhile")

// Subjects implements [consent.Store] with SCAN, of a cluster on every master.
// It stays on one connection to each: a cursor means nothing to the server that
// takes a lost one's place.
func (s *Store) Subjects(ctx context.Context, limit int, visit func([]consent.ID) error) error {
	limit = max(limit, 1)
	var err error
	switch c := s.client.(type) {
	case *redis.Client:
		err = s.scan(ctx, c, limit, visit)
	case *redis.ClusterClient:
		err = s.scanCluster(ctx, c, limit, visit)
	default:
		err = errors.New("no server can be asked for all of its keys through this client")
	}
	var stopped visitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &stopped):
		return stopped.error
	case redis.HasErrorPrefix(err, "NOPERM"):
		return s.failed("enumerating the subjects", fmt.Errorf("%w; give the user this right for as long as it takes: ACL SETUSER name %s", err, ACLRetire))
	}
	return s.failed("enumerating the subjects", err)
}

// visitError is an error of the caller's, not of the store's.
type visitError struct{ error }

func (s *Store) scan(ctx context.Context, c *redis.Client, limit int, visit func([]consent.ID) error) error {
	conn := c.Conn()
	defer conn.Close()
	for cursor := uint64(0); ; {
		keys, next, err := s.scanOnce(ctx, conn, cursor, limit)
		if err != nil {
			return err
		}
		ids := make([]consent.ID, 0, len(keys))
		for _, k := range keys {
			id, ok := strings.CutSuffix(strings.TrimPrefix(k, "consent:{"), "}:state")
			if ok && id != "" {
				ids = append(ids, consent.ID(id))
			}
		}
		// SCAN may answer with more than it was asked for.
		for page := range slices.Chunk(ids, limit) {
			if err := visit(page); err != nil {
				return visitError{err}
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

func (s *Store) scanOnce(ctx context.Context, conn *redis.Conn, cursor uint64, limit int) ([]string, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	return conn.Scan(ctx, cursor, "consent:{*}:state", int64(limit)).Result()
}

func (s *Store) scanCluster(ctx context.Context, c *redis.ClusterClient, limit int, visit func([]consent.ID) error) error {
	before, err := s.slots(ctx, c)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var masters []*redis.Client
	if err := c.ForEachMaster(ctx, func(_ context.Context, master *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		masters = append(masters, master)
		return nil
	}); err != nil {
		return err
	}
	for _, master := range masters {
		if err := s.scan(ctx, master, limit, visit); err != nil {
			return err
		}
	}
	after, err := s.slots(ctx, c)
	if err != nil {
		return err
	}
	if !slices.Equal(before, after) {
		return errMoved
	}
	return nil
}

// slotRange is a run of slots and its master.
type slotRange struct {
	start, end int
	master     string
}

func (s *Store) slots(ctx context.Context, c *redis.ClusterClient) ([]slotRange, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	//nolint:staticcheck // the documented users may run no newer command
	slots, err := c.ClusterSlots(ctx).Result()
	if err != nil {
		return nil, err
	}
	ranges := make([]slotRange, 0, len(slots))
	for _, r := range slots {
		if len(r.Nodes) > 0 {
			ranges = append(ranges, slotRange{r.Start, r.End, r.Nodes[0].ID})
		}
	}
	slices.SortFunc(ranges, func(a, b slotRange) int { return cmp.Compare(a.start, b.start) })
	return ranges, nil
}

// Bind implements [consent.Store]. It does not wait for replicas: should a
// failover lose the check value, the next gateway that connects sets it again.
func (s *Store) Bind(ctx context.Context, check string) (kept bool, err error) {
	const doing = "looking the check value of the root secret up"
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	have, err := s.client.Get(ctx, keyCheck).Result()
	if errors.Is(err, redis.Nil) {
		err = s.client.SetArgs(ctx, keyCheck, check, redis.SetArgs{Mode: "NX"}).Err()
		switch {
		case err == nil:
			return true, nil
		case redis.HasErrorPrefix(err, "NOPERM"):
			return false, nil
		case errors.Is(err, redis.Nil): // another one came first
			have, err = s.client.Get(ctx, keyCheck).Result()
		}
	}
	switch {
	case err != nil:
		return false, s.failed(doing, err)
	case have != check:
		return false, consent.ErrOtherSecret
	}
	return true, nil
}
