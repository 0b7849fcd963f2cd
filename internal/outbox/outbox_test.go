package outbox

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)

func TestARecordIsReadBackAsItWasWritten(t *testing.T) {
	for name, r := range map[string]Record{
		"full":       {Key: "k", Subject: "s", Release: []byte{0, 1, 255}, Body: []byte(`{"a":1}`), At: now},
		"empty":      {Release: []byte{}, Body: []byte{}},
		"1970":       {Release: []byte{}, Body: []byte("1"), At: time.Unix(0, 0).UTC()},
		"any bytes":  {Key: "\xff\x00{}", Subject: "\r\n", Release: []byte("\x00"), Body: []byte("\xff\x00"), At: now},
		"long parts": {Key: strings.Repeat("k", 300), Release: bytes.Repeat([]byte{7}, 70_000), Body: bytes.Repeat([]byte{8}, 70_000), At: now},
	} {
		got, err := DecodeRecord(AppendRecord(nil, &r))
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%s: read back as %+v, %v", name, got, err)
		}
	}
}

func TestATurnedBitIsAnError(t *testing.T) {
	good := AppendRecord(nil, &Record{Key: "k", Subject: "s", Release: []byte("r"), Body: []byte("b"), At: now})
	for i := range len(good) * 8 {
		b := bytes.Clone(good)
		b[i/8] ^= 1 << (i % 8)
		if r, err := DecodeRecord(b); !errors.Is(err, ErrCorrupt) || !reflect.DeepEqual(r, Record{}) {
			t.Fatalf("bit %d: %+v, %v", i, r, err)
		}
	}
	for n := range good {
		if _, err := DecodeRecord(good[:n]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(AppendRecord(nil, &Record{Key: "k", Subject: "s", Release: []byte("r"), Body: []byte("b"), At: now}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := DecodeRecord(b); err == nil {
			again, err := DecodeRecord(AppendRecord(nil, &r))
			if err != nil || !reflect.DeepEqual(again, r) {
				t.Errorf("%+v became %+v, %v", r, again, err)
			}
		} else if !errors.Is(err, ErrCorrupt) {
			t.Error(err)
		}
		// And with a checksum that is right: what is behind it is bounded.
		if len(b) >= recordHeader {
			r, err := DecodeRecord(AppendRecord(nil, &Record{Body: b}))
			if err != nil || !bytes.Equal(r.Body, b) {
				t.Error(err)
			}
		}
	})
}

func TestAVerdictIsReadBackOrIsAnError(t *testing.T) {
	for _, v := range []Verdict{{Status: 400, At: now}, {Status: 599, At: time.Unix(0, 0).UTC()}, {}} {
		b := AppendVerdict(nil, v)
		if got, err := DecodeVerdict(b); err != nil || got != v || len(b) != VerdictSize {
			t.Errorf("%+v in %d bytes is read back as %+v, %v", v, len(b), got, err)
		}
		for i := range len(b) * 8 {
			bad := bytes.Clone(b)
			bad[i/8] ^= 1 << (i % 8)
			if _, err := DecodeVerdict(bad); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("bit %d: %v", i, err)
			}
		}
		if _, err := DecodeVerdict(b[:VerdictSize-1]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut short: %v", err)
		}
	}
}

func TestABatchIsCutAtItsLimit(t *testing.T) {
	for name, tc := range map[string]struct {
		limit  Limit
		bodies []int
		n      int
		full   bool
	}{
		"by count":                                    {Limit{Count: 3, Bytes: 1000}, []int{1, 1, 1, 1}, 3, true},
		"at the very bytes":                           {Limit{Count: 9, Bytes: 10}, []int{5, 5, 1}, 2, true},
		"before the record that is too much":          {Limit{Count: 9, Bytes: 10}, []int{5, 4, 2}, 2, true},
		"a longer record is a batch of its own":       {Limit{Count: 9, Bytes: 10}, []int{11, 1}, 1, true},
		"behind others too":                           {Limit{Count: 9, Bytes: 10}, []int{1, 11, 1}, 1, true},
		"not yet":                                     {Limit{Count: 9, Bytes: 10}, []int{1, 2}, 2, false},
		"no limit is the least":                       {Limit{}, []int{1, 1}, 1, true},
		"empty bodies do not count":                   {Limit{Count: 3, Bytes: 1}, []int{0, 0, 1}, 3, true},
		"what comes after a cut does not come before": {Limit{Count: 9, Bytes: 10}, []int{6, 6, 1}, 1, true},
	} {
		g := NewGather(tc.limit)
		n := 0
		for _, size := range tc.bodies {
			if g.Add(&Record{Body: make([]byte, size), At: now}, now) {
				n++
			}
		}
		if n != tc.n || g.Len() != tc.n || g.Full() != tc.full {
			t.Errorf("%s: %d records, full %t", name, n, g.Full())
		}
	}
}

func TestABatchWaitsForTheAgeOfItsOldest(t *testing.T) {
	g := NewGather(Limit{Count: 9, Bytes: 9, Age: time.Minute})
	g.Add(&Record{At: now.Add(time.Hour)}, now) // from a clock that runs ahead
	if w := g.Wait(now); w != time.Minute {
		t.Errorf("a record of the future waits for %v", w)
	}
	g.Add(&Record{At: now.Add(-50 * time.Second)}, now)
	g.Add(&Record{At: now}, now)
	if w := g.Wait(now); w != 10*time.Second {
		t.Errorf("waits for %v", w)
	}
	if w := g.Wait(now.Add(10 * time.Second)); w > 0 {
		t.Errorf("waits for %v more", w)
	}
}

func TestAReadAsksForAboutWhatIsMissing(t *testing.T) {
	g := NewGather(Limit{Count: 100, Bytes: 1000})
	if n := g.Want(16); n != 16 {
		t.Errorf("first %d", n)
	}
	g.Add(&Record{Body: make([]byte, 400)}, now)
	if n := g.Want(1000); n != 2 {
		t.Errorf("%d more, of 400 bytes each", n)
	}
	g.Add(&Record{Body: make([]byte, 600)}, now)
	if n := g.Want(1000); n != 1 {
		t.Errorf("%d more, when full", n)
	}
}

func TestNamesThatKeysCannotHoldAreRefused(t *testing.T) {
	for name, ok := range map[string]bool{
		"adx": true, "open_platform:client-1": true, "合作方": true, strings.Repeat("x", 256): true,
		"": false, "a}b": false, "{": false, "a\x00b": false, strings.Repeat("x", 257): false,
	} {
		if err := CheckPartner(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestThePartitionOfASubjectStays(t *testing.T) {
	// By these the records of a subject that wait already are found again.
	for subject, want := range map[string]int{"": 5, "a": 4, "AAAAAAAAAAAAAAAAAAAAAA": 3} {
		if got := Partition(subject); got != want {
			t.Errorf("%q is in %d", subject, got)
		}
	}
	counts := make([]int, Partitions)
	for i := range 8000 {
		counts[Partition(strings.Repeat("x", i%23)+string(rune('A'+i%101)))]++
	}
	for p, n := range counts {
		if n < 500 {
			t.Errorf("partition %d has %d of 8000", p, n)
		}
	}
}
