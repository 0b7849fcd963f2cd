package rules

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/consentgate/consentgate/internal/payload"
)

// SetMember is a member that the gateway writes itself, so that what a record
// says of a decision (OpenRTB's device.lmt, regs.coppa) is what was decided.
type SetMember struct {
	payload.Write
	// Unless is the purpose without whose permission it is written; empty: it
	// always is.
	Unless string
	// Minor says that it is written only where the subject is a minor now.
	Minor  bool
	Clause string

	unless uint64 // the bit of Unless
}

// maxSet bounds what one recipient has written.
const maxSet = payload.MaxWrites

// maxSetText is the longest text that may be written, in bytes.
const maxSetText = 256

func compileSet(j *journal, r *recipient, bit map[string]uint64) (all []SetMember) {
	for _, w := range r.set {
		value, problem := scalarOf(w.value)
		if problem != "" {
			j.add(w.value.at(), "%s", problem)
		}
		all = append(all, SetMember{
			Write:  payload.Write{Path: w.path.s, Value: value, Create: w.create},
			Unless: w.unless.s, Minor: w.when.s == "minor", Clause: w.clause, unless: bit[w.unless.s],
		})
	}
	return all
}

// scalarOf returns a scalar of YAML as JSON spells it, or says what is wrong.
func scalarOf(v item) (value, problem string) {
	if v.n == nil || !setShape.field("value").shape.fits(v.n) {
		return "", "" // told already
	}
	var x any = v.n.Value
	switch v.n.ShortTag() {
	case "!!bool", "!!int", "!!float":
		if err := v.n.Decode(&x); err != nil {
			return "", "value cannot be read: " + err.Error()
		}
	default: // a date is the text that was written
		if len(v.n.Value) > maxSetText {
			return "", "value has more than " + strconv.Itoa(maxSetText) + " bytes: write less"
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(x); err != nil {
		return "", "JSON has no " + v.n.Value + ": write another value"
	}
	return string(bytes.TrimSpace(b.Bytes())), ""
}

func (c *checker) set(r *recipient) {
	if len(r.set) > maxSet {
		c.j.add(r.set[maxSet].at, "more than %d members are set for %s: set fewer", maxSet, r.id.s)
	}
	compiled := c.p.byName[r.id.s].Set
	for i, w := range r.set {
		if w.path.s == "" {
			continue // told already
		}
		if err := compiled[i].Check(); err != nil {
			c.j.add(w.path.at, "%v", err)
			continue
		}
		if k := slices.IndexFunc(compiled[:i], func(s SetMember) bool { return s.Check() == nil && s.SamePlace(compiled[i].Write) }); k >= 0 {
			c.j.add(w.path.at, "%s is set already, on line %d: set it once", w.path.s, r.set[k].path.at.line)
		}
		for k, o := range compiled {
			if k != i && o.Check() == nil && o.Around(compiled[i].Write) {
				c.j.add(w.path.at, "%s stands inside %s, which is set on line %d: set one of them", w.path.s, o.Path, r.set[k].path.at.line)
			}
		}
		if w.unless.s == "" {
			continue
		}
		switch {
		case w.unless.s == CrossBorder || c.p.byPurpose[w.unless.s] == nil:
			c.j.add(w.unless.at, "there is no purpose %q: %s", w.unless.s, suggest(w.unless.s, plainWords(r.purposes)))
		case !containsWord(r.purposes, w.unless.s):
			c.j.add(w.unless.at, "%s does not list the purpose %s, so it never may run: add it to its purposes, or %s", r.id.s, w.unless.s, suggest(w.unless.s, plainWords(r.purposes)))
		}
	}
}

// writes returns the members that are written where a word of permits holds, as
// indexes of the recipient's Set, as a set of bits.
func (r *Route) writes(word uint64) (bits uint32) {
	for i, s := range r.recipient.Set {
		if s.unless&word&r.purposes == 0 && (!s.Minor || word&underage != 0) {
			bits |= 1 << i
		}
	}
	return bits
}

// asksAge reports whether anything depends on whether the subject is a minor.
func (r *Recipient) asksAge() bool {
	return slices.ContainsFunc(r.Set, func(s SetMember) bool { return s.Minor })
}
