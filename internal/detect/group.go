package detect

// grouping is a way to write a number in groups, and what is so written. The
// sizes are four bits each, the last one lowest.
type grouping struct {
	sizes, mask uint32
	count       int // of groups
	digits      int // of them all
	kinds       Set
}

var groupings = func() (all []grouping) {
	for _, g := range []struct {
		kinds Set
		sizes []uint32
	}{
		{1 << Phone, []uint32{3, 4, 4}},
		{1 << IMEI, []uint32{2, 6, 6, 1}},
		{1 << IMEI, []uint32{6, 2, 6, 1}},
		{1 << Card, []uint32{4, 6, 4}},
		{1 << Card, []uint32{4, 6, 5}},
		{1 << Card, []uint32{4, 4, 4, 4}},
		{1 << Card, []uint32{4, 4, 4, 4, 1}},
		{1 << Card, []uint32{4, 4, 4, 4, 2}},
		{1<<Card | 1<<ICCID, []uint32{4, 4, 4, 4, 3}},
		{1 << Card, []uint32{6, 13}},
		{1 << ICCID, []uint32{4, 4, 4, 4, 4}},
		{1 << ICCID, []uint32{5, 5, 5, 5}},
		{1 << IDCard, []uint32{6, 8, 4}},
		{1 << IDCard, []uint32{6, 8, 3}}, // and an X
	} {
		n := grouping{kinds: g.kinds, count: len(g.sizes)}
		for _, size := range g.sizes {
			n.sizes = n.sizes<<4 | size
			n.mask = n.mask<<4 | 15
			n.digits += int(size)
		}
		all = append(all, n)
	}
	return all
}()

// groups looks at the groups of digits that end with t and are joined alike,
// by '-' or by a space.
func (s *scanner) groups(t *token) {
	for i := range groupings {
		g := &groupings[i]
		if t.sizes&g.mask != g.sizes || g.kinds&s.want == 0 {
			continue
		}
		start, end := s.before(g.count-1).run, t.runEnd
		d, ok := s.collect(start, end)
		if !ok || d.n != g.digits {
			continue
		}
		var found Set
		if d.n == 17 && g.kinds.Has(IDCard) {
			if end, ok = s.checkX(t); ok && isResident(d.all(), 10) {
				found = 1 << IDCard
			}
		} else {
			found = judge(d.all(), false) & g.kinds
		}
		if found.Has(Phone) {
			start = s.dialled(start)
		}
		s.add(start, end, found)
	}
}
