package attack

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Subject is whose request it is, as consent has it.
type Subject uint8

// The subjects.
const (
	Nobody  Subject = iota // the request names nobody
	Unknown                // somebody of whom nothing is recorded
	Denied                 // somebody who accepted the policy and refused every purpose
	Granted                // somebody who granted everything

	subjects = iota
)

var subjectNames = [subjects]string{"nobody", "unknown", "denied", "granted"}

// String returns the subject's name in reports.
func (s Subject) String() string { return subjectNames[s] }

// The user ids of the two whom the store knows.
const (
	DeniedID  = "zqdenied-subject"
	GrantedID = "zqgranted-subject"
)

// CaseHeader names the case in a request, so that what arrives is known by it.
const CaseHeader = "X-Case"

// Canary is a value that no other case holds.
type Canary struct {
	Value   string
	Item    string   // the category, or the looks, that it is of
	Needles []string // any of these found, as Normal writes them, is the value found
	Gone    bool     // it must not arrive
	Subject Subject  // whose record it stands in
}

// Plant returns a canary that a caller puts into a text itself. In what it is
// looked for, only its letters of ASCII and digits count: it needs eight of them.
func Plant(value, item string) Canary {
	return Canary{Value: value, Item: item, Needles: token.needles(value), Gone: true}
}

// Pair is a header as it is sent.
type Pair struct{ Name, Value string }

// Case is a request that holds canaries.
type Case struct {
	Seed, Index uint64

	Place, Wrapping, Item, Spelling, Envelope, Hostile string
	Subject                                            Subject

	Method, Target string
	Header         []Pair
	Body           []byte
	Chunked        bool
	Trailer        []Pair
	Raw            []byte // the whole request, where it is none that the rest can say

	Canaries []Canary
	// Honest is set where an ordinary client sends such requests: refusing it
	// is wrong, and all that is not personal must arrive.
	Honest bool
	// Swallowed is set where even a proxy without a gate takes a canary out.
	Swallowed bool

	want want
	plus bool // a form writes a space as '+'
}

// want is what must arrive.
type want struct {
	header []Pair
	query  *node
	cookie *node
	doc    *node   // of the body
	lines  []*node // of a body of lines; nil for one that goes
	parts  []part
	codec  codec
	coded  bool
	check  func(a *Arrived) error // what only this place asks for
}

// cell is one point of what cases are about, in one place.
type cell struct {
	wrapping, item uint16
}

// lattice is, for each place, every wrapping with every item that it can hold.
var lattice [][]cell

// makeLattice fills the lattice, once the places are known.
func makeLattice() (all [][]cell) {
	for p := range places {
		var cells []cell
		for w := range wrappings {
			if w > 0 && !places[p].wraps {
				continue
			}
			for item := range items {
				if places[p].takes(item) {
					cells = append(cells, cell{uint16(w), uint16(item)})
				}
			}
		}
		all = append(all, cells)
	}
	return all
}

// Cycle is how many cases in a row reach each place with each wrapping and
// item that it can hold.
func Cycle() uint64 {
	most := 0
	for _, cells := range lattice {
		most = max(most, len(cells))
	}
	return uint64(most * len(lattice))
}

// stride is coprime to all counts below it, being a prime, and takes cases that
// follow one another far apart.
const stride = 2654435761

// at returns what the case of an index is about: the places come in turn.
func at(seed, index uint64) (p *place, w *wrapping, item int) {
	n := uint64(len(places))
	cells := lattice[index%n]
	c := cells[(index/n*stride+seed)%uint64(len(cells))]
	return &places[index%n], &wrappings[c.wrapping], int(c.item)
}

// New makes the case of a seed and an index.
func New(seed, index uint64) *Case {
	p, w, item := at(seed, index)
	k := &Case{Seed: seed, Index: index, Place: p.name, Wrapping: w.name, Item: itemName(item), Method: "POST", Target: "/v1/report", Honest: true}
	c := &crafter{r: rand.New(rand.NewPCG(seed, index)), item: item, c: k}
	k.plus = c.r.IntN(2) == 0
	c.subject = Subject([]int{0, 0, 1, 2, 3, 3}[c.r.IntN(6)])
	if p.strangers && c.subject == Granted {
		c.subject = Nobody
	}
	k.Subject = c.subject
	if c.r.IntN(2) == 0 {
		c.style = spelling(c.r.IntN(spellings))
	}
	k.Spelling = spellingNames[c.style]

	k.header(CaseHeader, "c"+strconv.FormatUint(index, 10))
	k.header("Host", "app.example")
	k.header("Accept", "application/json")
	if !p.many {
		switch c.subject {
		case Unknown:
			id := token.make(c.r)
			k.Canaries = append(k.Canaries, Canary{Value: id, Item: "subject", Needles: token.needles(id), Gone: true, Subject: Unknown})
			k.header("X-User-ID", id)
		case Denied:
			k.Canaries = append(k.Canaries, Canary{Value: DeniedID, Item: "subject", Needles: token.needles(DeniedID), Gone: true, Subject: Denied})
			k.header("X-User-ID", DeniedID)
		case Granted:
			k.header("X-User-ID", GrantedID)
			k.want.header = append(k.want.header, Pair{"X-User-Id", GrantedID})
		}
	}
	k.dullHeader(c)
	if c.r.IntN(4) == 0 {
		c.setWarp(*w)
	}
	body := p.build(c, *w)
	c.finish(body)
	return k
}

func (k *Case) header(name, value string) { k.Header = append(k.Header, Pair{name, value}) }

// dullHeader adds a header that must arrive.
func (k *Case) dullHeader(c *crafter) {
	h := []Pair{{"X-Trace", "t-" + pick(c.r, "bcdf", 3)}, {"Accept-Language", "zh-CN"}, {"X-Channel", "store"}}[c.r.IntN(3)]
	k.Header = append(k.Header, h)
	k.want.header = append(k.want.header, h)
}

// Wire writes the request as it goes to the gate.
func (k *Case) Wire() []byte {
	if k.Raw != nil {
		return k.Raw
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", k.Method, k.Target)
	for _, h := range k.Header {
		b.WriteString(h.Name + ": " + h.Value + "\r\n")
	}
	switch {
	case k.Chunked || len(k.Trailer) > 0:
		if len(k.Trailer) > 0 {
			names := make([]string, len(k.Trailer))
			for i, t := range k.Trailer {
				names[i] = t.Name
			}
			b.WriteString("Trailer: " + strings.Join(names, ", ") + "\r\n")
		}
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		for rest := k.Body; len(rest) > 0; {
			n := min(len(rest), 1+int((k.Index*7+uint64(len(rest)))%97))
			fmt.Fprintf(&b, "%x\r\n", n)
			b.Write(rest[:n])
			b.WriteString("\r\n")
			rest = rest[n:]
		}
		b.WriteString("0\r\n")
		for _, t := range k.Trailer {
			b.WriteString(t.Name + ": " + t.Value + "\r\n")
		}
		b.WriteString("\r\n")
	default:
		if len(k.Body) > 0 || k.Method == "POST" {
			fmt.Fprintf(&b, "Content-Length: %d\r\n", len(k.Body))
		}
		b.WriteString("\r\n")
		b.Write(k.Body)
	}
	return []byte(b.String())
}

// Label names what the case is about.
func (k *Case) Label() string {
	return strings.Join([]string{k.Place, k.Wrapping, k.Item, k.Spelling, k.Envelope, k.Hostile, k.Subject.String()}, " | ")
}

// Places are the names of all places.
func Places() []string {
	names := make([]string, len(places))
	for i := range places {
		names[i] = places[i].name
	}
	return names
}
