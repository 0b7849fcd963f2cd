package rules

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Problem is one thing that is wrong with a policy, with what to write instead.
type Problem struct {
	File         string
	Line, Column int // counted from 1; 0: the file as a whole
	Message      string
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Message
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// Problems is all that is wrong with a policy, in the order of its lines. It is
// the error that [Load] returns.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// maxProblems is how many problems are told at once. Who has more reads the
// first ones anyway.
const maxProblems = 100

// place is where something stands in a policy.
type place struct {
	file         string
	line, column int
}

func placeOf(file string, n *yaml.Node) place { return place{file, n.Line, n.Column} }

// journal collects problems.
type journal struct {
	found   Problems
	skipped int
}

func (j *journal) add(at place, format string, args ...any) {
	p := Problem{at.file, at.line, at.column, fmt.Sprintf(format, args...)}
	if slices.Contains(j.found, p) {
		return
	}
	if len(j.found) == maxProblems {
		j.skipped++
		return
	}
	j.found = append(j.found, p)
}

func (j *journal) problems() Problems {
	if len(j.found) == 0 {
		return nil
	}
	ps := slices.Clone(j.found)
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if j.skipped > 0 {
		ps = append(ps, Problem{File: ps[0].File, Message: fmt.Sprintf("and %d problems more", j.skipped)})
	}
	return ps
}

// nearest returns the one of names that is most like the word, or "" when none
// is like it.
func nearest(word string, names []string) string {
	best, at := "", max(2, len(word)/3)+1
	if len(word) > 64 {
		return ""
	}
	for _, n := range names {
		if d := distance(word, n); d < at {
			best, at = n, d
		}
	}
	return best
}

// suggest ends a message about an unknown name: with the name that was
// probably meant, or else with all there are.
func suggest(word string, names []string) string {
	if n := nearest(word, names); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	switch {
	case len(names) == 0:
		return "there are none"
	case len(names) > 20:
		return fmt.Sprintf("there are %s and %d others", strings.Join(names[:20], ", "), len(names)-20)
	}
	return "write one of " + strings.Join(names, ", ")
}

// distance is the Levenshtein distance of two words, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
