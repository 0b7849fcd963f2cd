package attack

// Dragnet looks for the canaries of many cases at once, in texts that are not
// of any one of them, such as a log.
type Dragnet struct {
	by map[string][]Hit // by the first bytes of a needle
}

// Hit is a canary of a case.
type Hit struct {
	Case   *Case
	Canary Canary
	needle string
}

const meshes = 8 // bytes: the shortest needle

// NewDragnet knows all canaries of the cases, also those that may arrive.
func NewDragnet(cases []*Case) *Dragnet {
	d := &Dragnet{by: map[string][]Hit{}}
	for _, k := range cases {
		for _, c := range k.Canaries {
			for _, n := range c.Needles {
				if len(n) >= meshes {
					d.by[n[:meshes]] = append(d.by[n[:meshes]], Hit{k, c, n})
				}
			}
		}
	}
	return d
}

// Search returns the canaries that stand in a text, as it is and with its
// percent escapes undone.
func (d *Dragnet) Search(text []byte) (hits []Hit) {
	seen := map[string]bool{}
	for _, t := range [][]byte{text, unpercent(text), unescape(text)} {
		t = Normal(nil, t)
		for i := 0; i+meshes <= len(t); i++ {
			for _, h := range d.by[string(t[i:i+meshes])] {
				if !seen[h.needle] && len(t)-i >= len(h.needle) && string(t[i:i+len(h.needle)]) == h.needle {
					seen[h.needle] = true
					hits = append(hits, h)
				}
			}
		}
	}
	return hits
}
