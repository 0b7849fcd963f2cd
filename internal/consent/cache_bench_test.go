package consent

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// hitSubjects are the ways to name somebody, all of them cached.
func hitSubjects(tb testing.TB) (*Cache[permits], map[string]Subject) {
	s := newCacheStore()
	s.set("u", stateOf(1, Granted, "d"))
	s.set("d", stateOf(1, Granted, "u"))
	c := startCache(tb, s, CacheOptions{Lease: time.Hour}, derivePermits)
	m := map[string]Subject{
		"nobody": {}, "user": {User: "u"}, "device": {Device: "d"}, "linked": {User: "u", Device: "d"},
		"unlinked": {User: "u", Device: "x"}, "unknown": {User: "y"},
	}
	// In this order, since what one of them loads another need not.
	for _, name := range []string{"nobody", "user", "device", "linked", "unlinked", "unknown"} {
		mustGet(tb, c, m[name])
	}
	return c, m
}

func TestAHitDoesNotAllocate(t *testing.T) {
	c, subjects := hitSubjects(t)
	for name, s := range subjects {
		if n := testing.AllocsPerRun(1000, func() { c.Get(context.Background(), s) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if st := c.Stats(); st.Loads != 4 {
		t.Errorf("%+v", st)
	}
}

func BenchmarkCacheHit(b *testing.B) {
	c, subjects := hitSubjects(b)
	ctx := context.Background()
	for _, name := range []string{"nobody", "user", "linked", "unlinked", "device", "unknown"} {
		s := subjects[name]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Get(ctx, s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("otter", func(b *testing.B) { // the part of the look-up itself
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := c.entries.GetIfPresent("u"); !ok {
				b.Fatal("gone")
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				c.Get(ctx, Subject{User: "u"})
			}
		})
	})
}

func BenchmarkCacheGetAll(b *testing.B) {
	s := newCacheStore()
	c := startCache(b, s, CacheOptions{Lease: time.Hour}, derivePermits)
	subjects := make([]Subject, 100)
	for i := range subjects {
		subjects[i].User = ID(fmt.Sprint("user", i))
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.GetAll(context.Background(), subjects); err != nil {
			b.Fatal(err)
		}
	}
}
