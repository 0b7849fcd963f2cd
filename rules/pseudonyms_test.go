package rules

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"testing/fstest"
	"time"

	"github.com/consentgate/consentgate/internal/deid"
	"github.com/consentgate/consentgate/internal/payload"
)

const day = 24 * time.Hour

var rotating = Pseudonyms{Length: 90 * day, Overlap: 7 * day, recipient: "adx"}

// boundary is when the epoch of that number begins.
func boundary(n uint32) time.Time { return time.Unix(0, 0).Add(time.Duration(n) * rotating.Length) }

// salts are the salts of so many subjects.
func salts(n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		sum := sha256.Sum256(fmt.Append(nil, "subject ", i))
		all[i] = sum[:16]
	}
	return all
}

func TestAnEpochIsStable(t *testing.T) {
	for _, salt := range salts(50) {
		for _, at := range []time.Duration{rotating.Overlap, 8 * day, 45 * day, rotating.Length - 1} {
			if got := rotating.Epoch(boundary(228).Add(at), salt); got != 228 {
				t.Errorf("%v into epoch 228 it is %d", at, got)
			}
		}
		if got := rotating.Epoch(boundary(228).Add(-1), salt); got != 227 {
			t.Errorf("before epoch 228 it is %d", got)
		}
	}
}

// Each subject changes over once, at a moment of its own; when the overlap ends
// all have.
func TestEachSubjectChangesOverOnce(t *testing.T) {
	const n, steps = 400, 7 * 24
	changed := make([]int, n)
	at := make([]int, n)
	all := salts(n)
	for s, salt := range all {
		last := rotating.Epoch(boundary(228).Add(-1), salt)
		for step := 0; step <= steps; step++ {
			e := rotating.Epoch(boundary(228).Add(time.Duration(step)*rotating.Overlap/steps), salt)
			if e != last {
				changed[s]++
				at[s] = step
			}
			if e < last {
				t.Fatalf("subject %d went back from epoch %d to %d", s, last, e)
			}
			last = e
		}
		if last != 228 || changed[s] != 1 {
			t.Fatalf("subject %d changed over %d times, to epoch %d", s, changed[s], last)
		}
	}
	perDay := map[int]int{}
	for _, step := range at {
		perDay[min((step-1)/24, 6)]++
	}
	for d := range 7 {
		if perDay[d] < n/7/2 || perDay[d] > n/7*2 {
			t.Errorf("on day %d of the overlap %d of %d subjects change over: %v", d, perDay[d], n, perDay)
		}
	}
}

// The moment is another one for each recipient and each epoch: else two partners
// could join whose pseudonyms change together.
func TestTheMomentIsTheRecipients(t *testing.T) {
	other := rotating
	other.recipient = "dsp"
	same := 0
	for _, salt := range salts(50) {
		for _, m := range []time.Duration{other.moment(228, salt), rotating.moment(229, salt)} {
			if m == rotating.moment(228, salt) {
				same++
			}
			if m < 0 || m >= rotating.Overlap {
				t.Errorf("the moment %v is outside the overlap", m)
			}
		}
	}
	if same > 0 {
		t.Errorf("%d moments are the same", same)
	}
}

func TestNoRotation(t *testing.T) {
	if e := (Pseudonyms{}).Epoch(goldenNow, []byte("salt")); e != 0 {
		t.Errorf("epoch %d", e)
	}
	if e := rotating.Epoch(time.Unix(-1e9, 0), []byte("salt")); e != 0 {
		t.Errorf("before 1970 it is epoch %d", e)
	}
	if e := rotating.Epoch(time.Unix(1, 0), []byte("salt")); e != 0 {
		t.Errorf("at the beginning of 1970 it is epoch %d", e)
	}
	// Without an overlap all change at once, as the policy says.
	sharp := Pseudonyms{Length: day}
	if e := sharp.Epoch(time.Unix(0, 0).Add(20000*day), nil); e != 20000 {
		t.Errorf("epoch %d", e)
	}
}

// Pseudonyms are the same within an epoch, and disjoint between epochs and
// between recipients.
func TestPseudonymsOfEpochs(t *testing.T) {
	root, id := []byte("0123456789abcdef0123456789abcdef"), []byte("004999010640000")
	tr, err := deid.New("pseudonym", nil, deid.Env{Recipient: "adx", Category: "device.id.imei"})
	if err != nil {
		t.Fatal(err)
	}
	other, err := deid.New("pseudonym", nil, deid.Env{Recipient: "dsp", Category: "device.id.imei"})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for s, salt := range salts(20) {
		for _, at := range []time.Time{boundary(227).Add(30 * day), boundary(228).Add(30 * day), boundary(229).Add(30 * day)} {
			epoch := rotating.Epoch(at, salt)
			for name, tr := range map[string]payload.Transformer{"adx": tr, "dsp": other} {
				key := deid.SubjectKey(root, name, epoch, salt)
				made, _, ok := tr.Append(nil, id, payload.String, &payload.Params{Now: at, Key: key})
				if !ok {
					t.Fatal("no pseudonym")
				}
				whose := fmt.Sprintf("subject %d, %s, epoch %d", s, name, epoch)
				if before := seen[string(made)]; before != "" {
					t.Errorf("%s: the pseudonym of %s", whose, before)
				}
				seen[string(made)] = whose
				later := deid.SubjectKey(root, name, rotating.Epoch(at.Add(40*day), salt), salt)
				again, _, _ := tr.Append(nil, id, payload.String, &payload.Params{Now: at.Add(40 * day), Key: later})
				if string(again) != string(made) {
					t.Errorf("%s: another pseudonym forty days later", whose)
				}
			}
		}
	}
}

func TestRotationIsCompiled(t *testing.T) {
	for text, want := range map[string]Pseudonyms{
		"":                                       {},
		"pseudonyms: {epoch: 90d, overlap: 7d}":  {90 * day, 7 * day, "ads"},
		"pseudonyms: {epoch: 30d}":               {30 * day, 3 * day, "ads"},
		"pseudonyms: {epoch: 48h, overlap: 30m}": {2 * day, 30 * time.Minute, "ads"},
	} {
		p, err := Load(fstest.MapFS{"p.yaml": {Data: []byte(changed(t, "headers: [Accept]", "headers: [Accept]\n    "+text))}}, "p.yaml")
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Recipient("ads").Pseudonyms; got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}
