package queuetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/outbox"
)

const (
	killPartner = "killed"
	killWriters = 6
	killRounds  = 4
)

// killLimit cuts small batches, so that the kill meets many.
var killLimit = outbox.Limit{Count: 7, Bytes: 1 << 20, Age: time.Millisecond}

// Child appends and consumes until the process is killed, and tells on standard
// output what it knows to be so. Rounds count the processes that ran on one
// queue. It does not return.
func Child(q outbox.Queue, round int) {
	ctx := context.Background()
	var mu sync.Mutex
	say := func(what string, words ...any) { // a line is one write
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(os.Stdout, append([]any{what}, words...)...)
	}
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	for w := range killWriters {
		go func() {
			for n := 0; ; n += 3 {
				rs := some(fmt.Sprint("writer ", w), fmt.Sprintf("w%d-%d", w, round), n, 3)
				_, err := q.Append(ctx, killPartner, roomy, rs)
				must(err)
				for _, r := range rs {
					say("appended", r.Key)
				}
			}
		}()
	}
	for p := range outbox.Partitions {
		go func() {
			for {
				l, err := q.Lease(ctx, killPartner, p)
				for must(err); err == nil; {
					var rs []outbox.Record
					if rs, err = l.Batch(ctx, killLimit); err == nil {
						say("taken", p, strings.Join(keys(rs), " "))
						err = l.Done(ctx, deadOf(rs))
					}
					if err == nil {
						say("done", p)
					}
				}
				if !errors.Is(err, outbox.ErrLost) { // on a machine that is slow
					must(err)
				}
				l.Release()
			}
		}()
	}
	select {}
}

// deadOf lets one record in ten die.
func deadOf(rs []outbox.Record) map[int]outbox.Verdict {
	dead := make(map[int]outbox.Verdict)
	for i, r := range rs {
		if strings.HasSuffix(r.Key, "3") {
			dead[i] = outbox.Verdict{Status: 400}
		}
	}
	return dead
}

// Kill runs processes that call Child, one after the other, on one queue, and
// kills each of them amid its work. Then it opens the queue itself. Whatever was
// acknowledged must have been taken by some consumer, each subject's in order; a
// batch that was taken and not done must have come again as it was; and what
// died is a dead letter.
func Kill(t *testing.T, child func(round int) *exec.Cmd, p Place) {
	k := &killed{t: t, next: make(map[string]int), appended: make(map[string]bool), taken: make(map[string]bool), done: make(map[string]bool), under: make(map[string][]string)}
	for round := range killRounds {
		c := child(round)
		c.Stderr = os.Stderr
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		for n := 0; ; n++ {
			line, err := lines.ReadString('\n')
			if err != nil { // the pipe's end, after all that was said
				break
			}
			k.hear(strings.Fields(line))
			if n == 400+137*round {
				_ = c.Process.Kill() // it may have ended by itself, and then too little was said
			}
		}
		_ = c.Wait() // it was killed, and that is its error
	}
	e := &env{T: t, place: p, q: p.Open(t), partner: killPartner}
	t.Cleanup(func() { e.q.Close() })
	// A partition that has nothing makes Batch wait; which one that is, nobody
	// tells. So all are asked until nothing is left.
	for begun := time.Now(); e.stats().Records > 0 && time.Since(begun) < patience; {
		for p := range outbox.Partitions {
			k.consume(e, p)
		}
	}
	if s := e.stats(); s.Records != 0 || s.Bytes != 0 {
		t.Errorf("left are %+v", s)
	}
	// The last batch of a partition may have been done by one who did not live to say
	// so: nothing came after it that would tell.
	for p := range k.under {
		k.hear([]string{"done", p})
	}
	k.check(e)
}

// consume takes what a partition has.
func (k *killed) consume(e *env, p int) {
	l := e.lease(p)
	defer l.Release()
	for {
		ctx, cancel := context.WithTimeout(e.Context(), 50*time.Millisecond)
		rs, err := l.Batch(ctx, soon)
		cancel()
		if err != nil {
			return
		}
		k.hear(append([]string{"taken", fmt.Sprint(p)}, keys(rs)...))
		e.done(l, deadOf(rs))
		k.hear([]string{"done", fmt.Sprint(p)})
	}
}

// killed is what was heard of all processes.
type killed struct {
	t                     *testing.T
	appended, taken, done map[string]bool
	next                  map[string]int      // the last number taken of each writer and round
	under                 map[string][]string // batch under way of each partition
}

func (k *killed) hear(words []string) {
	switch words[0] {
	case "appended":
		k.appended[words[1]] = true
	case "done":
		for _, key := range k.under[words[1]] {
			k.done[key] = true
		}
		delete(k.under, words[1])
	case "taken":
		p, batch := words[1], words[2:]
		if before := k.under[p]; before != nil && !slices.Equal(before, batch) {
			// It was done, then, and nobody lived to say so.
			for _, key := range batch {
				if slices.Contains(before, key) {
					k.t.Errorf("a batch was %q, and came again as %q", before, batch)
					break
				}
			}
			for _, key := range before {
				k.done[key] = true
			}
		}
		k.under[p] = batch
		for _, key := range batch {
			if !k.taken[key] {
				k.taken[key] = true
				k.order(key)
			}
		}
	}
}

// order checks that a key is the next one of its writer: WRITER-ROUND-N.
func (k *killed) order(key string) {
	writer, rest, _ := strings.Cut(key, "-")
	var round, n int
	if _, err := fmt.Sscanf(rest, "%d-%d", &round, &n); err != nil {
		k.t.Fatalf("key %q: %v", key, err)
	}
	at := round*1_000_000 + n
	if last, ok := k.next[writer]; ok && at <= last {
		k.t.Errorf("%s was taken out of order", key)
	}
	k.next[writer] = at
}

func (k *killed) check(e *env) {
	for key := range k.appended {
		if !k.done[key] {
			k.t.Errorf("%s was acknowledged, and never done", key)
		}
	}
	dead := make(map[string]bool)
	for after := ""; ; {
		page := e.dead(after, 100)
		if len(page) == 0 {
			break
		}
		for _, l := range page {
			if dead[l.Key] {
				k.t.Errorf("%s died twice", l.Key)
			}
			dead[l.Key] = true
		}
		after = page[len(page)-1].ID
	}
	for key := range maps.Keys(k.done) {
		if dead[key] != strings.HasSuffix(key, "3") {
			k.t.Errorf("%s is dead: %t", key, dead[key])
		}
	}
	if len(k.appended) < 400 || len(k.done) < 400 || len(dead) < 40 {
		k.t.Errorf("only %d were appended, %d done, %d died", len(k.appended), len(k.done), len(dead))
	}
}

// Self returns a command that runs this test binary again, with an environment
// variable more.
func Self(t testing.TB, name, value string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self)
	c.Env = append(os.Environ(), name+"="+value)
	return c
}
