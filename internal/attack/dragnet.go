package attack

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// Dragnet looks for the canaries of many cases at once, in texts that are not
// of any one of them, such as a log or what a partner was sent.
type Dragnet struct {
	by  map[string][]Hit // by the first bytes of a needle
	buf []byte
}

// Hit is a canary of a case.
type Hit struct {
	Case   *Case
	Canary Canary
	In     string // what was undone to see it
	needle string
}

const meshes = 8 // bytes: the shortest needle

// NewDragnet knows all canaries of the cases, also those that may arrive.
func NewDragnet(cases []*Case) *Dragnet {
	d := &Dragnet{by: map[string][]Hit{}}
	for _, k := range cases {
		for _, c := range k.Canaries {
			for _, n := range c.Needles {
				d.add(k, c, n)
			}
		}
	}
	return d
}

func (d *Dragnet) add(k *Case, c Canary, needle string) {
	if len(needle) >= meshes {
		d.by[needle[:meshes]] = append(d.by[needle[:meshes]], Hit{Case: k, Canary: c, needle: needle})
	}
}

// AddDigests has the dragnet know the canaries of the cases by what hashes make
// of them, too: whoever knows an identifier finds it by its hash.
func (d *Dragnet) AddDigests(cases []*Case) {
	for _, k := range cases {
		for _, c := range k.Canaries {
			for _, n := range digests(c.Value) {
				d.add(k, c, n)
			}
		}
	}
}

// digests are the hashes of a value in the spellings in use, as Normal writes
// them in hex and in base64.
func digests(value string) (needles []string) {
	spelled := map[string]bool{}
	plain := strings.NewReplacer(":", "", "-", "").Replace(value)
	for _, v := range []string{value, strings.ToLower(value), strings.ToUpper(value), plain, strings.ToLower(plain), strings.ToUpper(plain)} {
		if spelled[v] {
			continue
		}
		spelled[v] = true
		m, s, t := md5.Sum([]byte(v)), sha1.Sum([]byte(v)), sha256.Sum256([]byte(v))
		for _, sum := range [][]byte{m[:], s[:], t[:]} {
			needles = append(needles, hex.EncodeToString(sum), normal(base64.StdEncoding.EncodeToString(sum)))
		}
	}
	return needles
}

// Search returns the canaries that stand in a text, as it is and with its
// percent escapes undone.
func (d *Dragnet) Search(text []byte) (hits []Hit) {
	seen := map[string]bool{}
	for _, t := range [][]byte{text, unpercent(text), unescape(text)} {
		hits = d.find(hits, seen, "", t)
	}
	return hits
}

// Open opens a text in every way that a receiver might, as Audit does, and
// returns the canaries in it. part names the text in what it returns.
func (d *Dragnet) Open(part string, text []byte) (hits []Hit) {
	seen := map[string]bool{}
	x := newOpener(func(how string, t []byte) { hits = d.find(hits, seen, how, t) })
	x.look(part, text, maxUndone)
	return hits
}

func (d *Dragnet) find(hits []Hit, seen map[string]bool, how string, text []byte) []Hit {
	d.buf = Normal(d.buf[:0], text)
	t := d.buf
	for i := 0; i+meshes <= len(t); i++ {
		for _, h := range d.by[string(t[i:i+meshes])] {
			if !seen[h.needle] && len(t)-i >= len(h.needle) && string(t[i:i+len(h.needle)]) == h.needle {
				seen[h.needle] = true
				h.In = how
				hits = append(hits, h)
			}
		}
	}
	return hits
}
