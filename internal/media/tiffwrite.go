package media

import (
	"bytes"
	"slices"
)

// pictures cleans the images that a pair of entries (offsets, lengths) points at, where they are whole JPEGs.
func (t *tiffEdit) pictures(entries []entry, tags [2]uint16) error {
	var pair [2]*entry
	for i := range entries {
		for k, tag := range tags {
			if entries[i].tag == tag && !entries[i].gone {
				pair[k] = &entries[i]
			}
		}
	}
	if pair[0] == nil && pair[1] == nil {
		return nil
	}
	before := len(t.image)
	drop := func() error {
		t.image = t.image[:before]
		for _, e := range pair {
			if e != nil {
				e.gone = true
			}
		}
		if !t.block {
			return malformed(t.at.off)
		}
		return nil
	}
	if pair[0] == nil || pair[1] == nil {
		return drop()
	}
	offs, err := t.integers(pair[0])
	if err != nil {
		return err
	}
	lens, err := t.integers(pair[1])
	if err != nil {
		return err
	}
	if len(offs) != len(lens) {
		return drop()
	}
	for i := range offs {
		start := int64(t.at.off) + int64(offs[i])
		if start+int64(lens[i]) > int64(t.at.end) {
			return drop()
		}
		s := span{int(start), int(start) + int(lens[i])}
		t.image = append(t.image, s)
		if !t.block && bytes.HasPrefix(t.c.bytes(s), []byte("\xff\xd8")) {
			end, err := t.c.jpeg(s, t.depth+1)
			if err != nil {
				return err
			}
			t.c.zero(span{end, s.end})
		} else if err := t.c.picture(s, t.depth); err != nil {
			return err
		}
	}
	return nil
}

// rewrite writes a directory without what has gone, and follows its next pointer.
func (t *tiffEdit) rewrite(dir span, entries []entry) error {
	end := dir.off + 2 + len(entries)*entrySize
	next, hasNext := uint32(0), dir.end-end == 4
	if hasNext {
		next = t.order.Uint32(t.c.src[end:])
		if next != 0 && !t.follow(next, false) {
			if !t.block {
				return malformed(end)
			}
			next = 0
		}
	}
	out := t.order.AppendUint16(nil, 0)
	left := uint16(0)
	for i := range entries {
		e := &entries[i]
		switch {
		case e.gone:
			if !e.inline() {
				t.gone = append(t.gone, e.value)
			}
			continue
		case !e.inline():
			t.kept = append(t.kept, e.value)
		}
		out = append(out, e.raw...)
		left++
	}
	t.order.PutUint16(out, left)
	if hasNext {
		out = t.order.AppendUint32(out, next)
	}
	t.dirs = append(t.dirs, dir)
	t.c.put(dir.off, append(out, make([]byte, dir.size()-len(out))...))
	return nil
}

// finish zeroes what was taken out and, in a block, what nobody claims.
func (t *tiffEdit) finish() error {
	slices.SortFunc(t.dirs, func(a, b span) int { return a.off - b.off })
	for i := 1; i < len(t.dirs); i++ {
		if t.dirs[i-1].overlaps(t.dirs[i]) {
			return malformed(t.dirs[i].off)
		}
	}
	fixed := t.dirs
	if !t.block {
		fixed = append(slices.Clone(t.dirs), t.image...)
	}
	fixed = joined(append(fixed, t.at.part(0, tiffHeader)))
	gone := joined(t.gone)
	for i, j := 0, 0; i < len(gone) && j < len(fixed); {
		switch {
		case gone[i].overlaps(fixed[j]):
			return malformed(gone[i].off)
		case gone[i].end <= fixed[j].off:
			i++
		default:
			j++
		}
	}
	for _, s := range gone {
		t.c.zero(s)
	}
	if t.block {
		done := t.at.off
		for _, s := range joined(append(append(fixed, t.kept...), t.image...)) {
			t.c.zero(span{done, s.off})
			done = s.end
		}
		t.c.zero(span{done, t.at.end})
	}
	return nil
}

// joined sorts spans and joins those that touch.
func joined(spans []span) []span {
	spans = slices.DeleteFunc(slices.Clone(spans), func(s span) bool { return s.size() <= 0 })
	slices.SortFunc(spans, func(a, b span) int { return a.off - b.off })
	out := spans[:0]
	for _, s := range spans {
		if n := len(out); n > 0 && s.off <= out[n-1].end {
			out[n-1].end = max(out[n-1].end, s.end)
			continue
		}
		out = append(out, s)
	}
	return out
}
