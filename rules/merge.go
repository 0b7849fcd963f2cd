package rules

// merge joins the files of a policy: the packs first, each before the file that
// includes it, the policy last. What they say of one category adds up.
func merge(j *journal, all []*source) *source {
	src := *all[len(all)-1]
	src.categories = nil
	index := map[string]int{}
	for _, s := range all {
		for _, c := range s.categories {
			checkKeys(j, c, s.pack)
			i, ok := index[c.id.s]
			if !ok {
				index[c.id.s] = len(src.categories)
				src.categories = append(src.categories, c)
				continue
			}
			src.categories[i] = extend(j, src.categories[i], c)
		}
	}
	return &src
}

// extend adds to a category what a later file says of it. A later file may
// call a category sensitive or free text, but not take that back: the packs know the law,
// and what is laxer than they are is more likely an oversight than a decision.
func extend(j *journal, base, more category) category {
	base.id.at = more.id.at
	if more.title.ZH != "" || more.title.EN != "" {
		base.title = more.title
	}
	if more.clause != "" {
		base.clause = more.clause
	}
	if more.sensitive != nil {
		if base.sensitive != nil && *base.sensitive && !*more.sensitive {
			j.add(more.sensAt, "%s is sensitive by %s:%d and cannot be made less so: take \"sensitive: false\" away", more.id.s, base.sensAt.file, base.sensAt.line)
		} else {
			base.sensitive, base.sensAt = more.sensitive, more.sensAt
		}
	}
	if more.freeText != nil {
		if base.freeText != nil && *base.freeText && !*more.freeText {
			j.add(more.freeAt, "%s is free text by %s:%d and cannot be made less so: take \"free_text: false\" away", more.id.s, base.freeAt.file, base.freeAt.line)
		} else {
			base.freeText, base.freeAt = more.freeText, more.freeAt
		}
	}
	base.keys = append(base.keys[:len(base.keys):len(base.keys)], more.keys...)
	base.paths = append(base.paths[:len(base.paths):len(base.paths)], more.paths...)
	base.headers = append(base.headers[:len(base.headers):len(base.headers)], more.headers...)
	base.detect = append(base.detect[:len(base.detect):len(base.detect)], more.detect...)
	return base
}
