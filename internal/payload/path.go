package payload

import (
	"errors"
	"fmt"
	"strings"
)

// Path addresses members below an anchor. Steps are member names, compared
// folded; array elements are not steps, so a path goes through arrays as if
// they were not there. See [ParsePath].
type Path struct {
	steps    []step
	floating bool // began with "**": the first step may stand at any depth
	below    bool // ended with "**": everything below the last step, and itself
}

type step struct {
	key     string // folded
	spelled string // as it was written
	any     bool   // '*': any one member
}

// ParsePath parses steps joined by '.'. '*' is any one step; '**', first or
// last only, is any number of steps, none included; a step that holds a '.' or
// is a literal '*' is written in double quotes: `imp.**`, `**.exif.GPSInfo`,
// `properties."device.id"`.
func ParsePath(s string) (Path, error) {
	var p Path
	rest := s
	for n := 0; ; n++ {
		var text string
		var quoted, more bool
		if strings.HasPrefix(rest, `"`) {
			end := strings.IndexByte(rest[1:], '"')
			if end < 0 {
				return Path{}, fmt.Errorf("path %q: a quote is not closed", s)
			}
			text, quoted, rest = rest[1:1+end], true, rest[end+2:]
			if rest != "" && rest[0] != '.' {
				return Path{}, fmt.Errorf("path %q: after a quoted step comes a '.' or the end", s)
			}
			more = rest != ""
			if more {
				rest = rest[1:]
			}
		} else {
			text, rest, more = strings.Cut(rest, ".")
		}
		switch {
		case !quoted && text == "**" && n == 0:
			p.floating = true
			if !more {
				p.below = true
			}
		case !quoted && text == "**" && !more:
			p.below = true
		case !quoted && text == "**":
			return Path{}, fmt.Errorf("path %q: '**' may stand only first or last", s)
		case !quoted && text == "*":
			p.steps = append(p.steps, step{any: true})
		default:
			key := Fold(text)
			if key == "" {
				return Path{}, fmt.Errorf("path %q: an empty step (write a step that holds a '.' in double quotes)", s)
			}
			p.steps = append(p.steps, step{key: key, spelled: text})
		}
		if !more {
			break
		}
	}
	if len(p.steps) > maxSteps {
		return Path{}, fmt.Errorf("path %q: more than %d steps", s, maxSteps)
	}
	return p, nil
}

// maxSteps bounds a path: nothing deeper than a document may be can match.
const maxSteps = 64

// exact reports whether the path names one place and no other.
func (p Path) exact() bool {
	if p.floating || p.below {
		return false
	}
	for _, s := range p.steps {
		if s.any {
			return false
		}
	}
	return true
}

var errTooManyPaths = errors.New("the paths of this policy combine into too many states: write fewer paths that begin with '**' and hold '*'")
