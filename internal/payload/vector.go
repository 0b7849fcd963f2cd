package payload

import "math/bits"

// Judgement is the part of a Vector that is not about categories.
type Judgement struct {
	// Unknown is Pass or Drop: what happens to scalars that no category
	// matches.
	Unknown Op
	// Keep is the index in Spec.Keep of the paths exempt from Unknown; -1: none.
	// What stands at one that names a single place is not searched either.
	Keep int
	// Writes are the members that are written, as indexes of Spec.Writes.
	Writes []int
	// Looks is whether values that no category governs are judged by their
	// looks.
	Looks Looks
}

// Looks is what happens to what a Detector finds.
type Looks uint8

// What can happen to it.
const (
	Apply      Looks = iota // the category's action
	ReportOnly              // nothing; the Report counts it
	Off                     // nothing
)

// Vector is a release made ready for a Matcher: one action per class. It is
// immutable.
type Vector struct {
	judge   Judgement
	byCat   []Action
	ops     []Op          // by class
	trans   []Transformer // by class; nil where the op is not Transform
	governs []bool        // by class: whether it holds a category
	kept    []bool        // by class: whether what stands there is exempt from Unknown
	exact   []bool        // by class: whether it is not searched either
	keyed   bool          // some transform needs Params.Key
	writes  []*writing    // by class: what is written there; nil: nothing anywhere
	placed  bool          // some transform needs Params.Place
}

// NewVector makes a vector of the actions, indexed by Category; a category
// without one drops.
func (m *Matcher) NewVector(actions []Action, j Judgement) *Vector {
	n := len(m.classes)
	v := &Vector{
		judge: j, byCat: actions, ops: make([]Op, n), trans: make([]Transformer, n),
		governs: make([]bool, n), kept: make([]bool, n), exact: make([]bool, n),
	}
	for _, a := range actions {
		_, keyed := a.T.(Keyed)
		_, placed := a.T.(Placed)
		v.keyed, v.placed = v.keyed || keyed, v.placed || placed
	}
	for c, cl := range m.classes {
		act := Action{}
		for _, cat := range cl.categories {
			act = Stricter(act, v.action(cat))
		}
		v.ops[c] = act.Op
		if act.Op == Transform {
			v.trans[c] = act.T
		}
		v.governs[c] = len(cl.categories) > 0
		for _, k := range cl.keep {
			if k.list == j.Keep {
				v.kept[c], v.exact[c] = true, k.exact
			}
		}
	}
	v.writes = m.writings(j.Writes)
	return v
}

// Keyed reports whether some transform of the vector needs Params.Key.
func (v *Vector) Keyed() bool { return v.keyed }

// Placed reports whether some transform of the vector needs Params.Place.
func (v *Vector) Placed() bool { return v.placed }

func (v *Vector) action(c Category) Action {
	if int(c) >= len(v.byCat) {
		return Action{Op: Drop}
	}
	return v.byCat[c]
}

// decide returns what happens to a value of both classes.
func (v *Vector) decide(a, b Class) (Op, Transformer) {
	op, t := v.ops[a], v.trans[a]
	if b == 0 || b == a {
		return op, t
	}
	other := v.ops[b]
	switch {
	case other > op:
		return other, v.trans[b]
	case other == Transform && op == Transform && v.trans[b] != t:
		return Drop, nil
	}
	return op, t
}

// Report is what a rewriting did. It holds no value. The zero Report is empty
// and ready for use; it may be used for several rewritings, which add up.
type Report struct {
	Unknown int // scalars dropped because no category matched them
	Sealed  int // values dropped because what is in them cannot be opened
	Blocked int // records that were taken out
	Written int // members that the gateway wrote itself
	// BlockedAll reports that something outside all records is to be blocked:
	// there is nothing to forward.
	BlockedAll bool

	dropped, changed, blocked, looked bitset // of categories
}

// Dropped calls f for every category of which something was dropped or
// nulled, in ascending order.
func (r *Report) Dropped(f func(Category)) { r.dropped.each(f) }

// Changed calls f for every category of which something was de-identified.
func (r *Report) Changed(f func(Category)) { r.changed.each(f) }

// BlockedBy calls f for every category that blocked a record.
func (r *Report) BlockedBy(f func(Category)) { r.blocked.each(f) }

// Looked calls f for every category that a value's looks spoke of, where that is
// only reported.
func (r *Report) Looked(f func(Category)) { r.looked.each(f) }

// Untouched reports whether nothing was done.
func (r *Report) Untouched() bool {
	return r.looked == bitset{} && r.Unknown == 0 && r.Sealed == 0 && r.Blocked == 0 && r.Written == 0 && !r.BlockedAll && r.dropped == bitset{} && r.changed == bitset{}
}

// Add adds what another rewriting did.
func (r *Report) Add(o *Report) {
	r.Unknown += o.Unknown
	r.Sealed += o.Sealed
	r.Blocked += o.Blocked
	r.Written += o.Written
	r.BlockedAll = r.BlockedAll || o.BlockedAll
	r.dropped.merge(&o.dropped)
	r.changed.merge(&o.changed)
	r.blocked.merge(&o.blocked)
	r.looked.merge(&o.looked)
}

// Note records what was done to values of these categories elsewhere, such as
// in headers.
func (r *Report) Note(op Op, categories ...Category) {
	for _, c := range categories {
		r.set(op).add(c)
	}
}

func (r *Report) set(op Op) *bitset {
	switch op {
	case Transform:
		return &r.changed
	case Block:
		return &r.blocked
	}
	return &r.dropped
}

// note records op for the categories of the classes that asked for more than
// passing.
func (r *Report) note(m *Matcher, v *Vector, op Op, classes ...Class) {
	set := r.set(op)
	for _, c := range classes {
		for _, cat := range m.classes[c].categories {
			if a := v.action(cat); a.Op == op || a.Op != Pass && op != Block && a.Op != Block {
				set.add(cat)
			}
		}
	}
}

// MaxCategories bounds the categories of a policy.
const MaxCategories = 512

type bitset [MaxCategories / 64]uint64

func (b *bitset) add(c Category) { b[c/64] |= 1 << (c % 64) }

func (b *bitset) merge(o *bitset) {
	for i, w := range o {
		b[i] |= w
	}
}

func (b *bitset) each(f func(Category)) {
	for i, w := range b {
		for ; w != 0; w &= w - 1 {
			f(Category(i*64 + bits.TrailingZeros64(w)))
		}
	}
}
