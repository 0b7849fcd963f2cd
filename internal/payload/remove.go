package payload

var (
	jsonNull = []byte("null")
	masked   = []byte("***")
)

// replace puts with in the place of src[start:end].
func (w *splice) replace(start, end int, with []byte) {
	if w.out == nil {
		if w.out = w.room; cap(w.out) < len(w.src) {
			w.out = make([]byte, 0, len(w.src)+64)
		}
	}
	w.out = append(w.out, w.src[w.at:start]...)
	w.out = append(w.out, with...)
	w.at = end
}

// drop removes a member or a field, or makes an element or the root null.
func (w *splice) drop(h *Hit) {
	switch {
	case h.role&roleSpan != 0:
		w.replace(int(h.Start), int(h.End), masked)
	case w.s.syn == synForm:
		w.removeField(int(h.Key), int(h.End))
	case w.s.syn == synParts:
		w.replace(int(h.Key), int(h.Parent), nil)
	case w.s.syn == synText:
		w.replace(int(h.Start), int(h.End), nil)
	case h.Key == noKey:
		w.replace(int(h.Start), int(h.End), jsonNull)
	default:
		w.remove(int(h.Key), int(h.End))
	}
}

// null makes a value say nothing.
func (w *splice) null(h *Hit) {
	switch {
	case h.role&roleSpan != 0:
		w.replace(int(h.Start), int(h.End), masked)
	case w.s.syn == synJSON:
		w.replace(int(h.Start), int(h.End), jsonNull)
	default:
		w.replace(int(h.Start), int(h.End), nil)
	}
}

// remove takes out the member or the element at src[start:end] with one comma:
// the one before it, or, where it is the first that is left, the one after.
func (w *splice) remove(start, end int) {
	// A removal of this second kind ends just where the next member starts.
	first := w.at == start
	if !first {
		i := start - 1
		for src := w.src; src[i] == ' ' || src[i] == '\t' || src[i] == '\n' || src[i] == '\r'; i-- {
		}
		if w.src[i] == ',' {
			w.replace(i, end, nil)
			return
		}
	}
	if i := skipSpace(w.src, end); i < len(w.src) && w.src[i] == ',' {
		end = skipSpace(w.src, i+1)
	}
	w.replace(start, end, nil)
}

// removeField takes out the field of a form at src[start:end] with one
// separator, by the same rule.
func (w *splice) removeField(start, end int) {
	lo, hi := int(w.s.region[0]), int(w.s.region[1])
	lead := w.s.form.lead
	i := start
	for lead && i > lo && (w.src[i-1] == ' ' || w.src[i-1] == '\t') {
		i--
	}
	// What begins a query or a fragment stays, as long as something follows.
	begins := i > lo && (w.src[i-1] == '?' || w.src[i-1] == '#') && end < hi && w.src[end] != '?' && w.src[end] != '#'
	if i > lo && w.at < start && !begins {
		w.replace(i-1, end, nil)
		return
	}
	if end < hi {
		end++
		for lead && end < hi && (w.src[end] == ' ' || w.src[end] == '\t') {
			end++
		}
	}
	w.replace(max(i, w.at), end, nil)
}
