package rules

import "errors"

// build checks a source and compiles it. Everything that is wrong goes to the
// journal; the Policy is of use only where nothing is.
func build(j *journal, src *source) *Policy {
	p := compile(j, src)
	c := &checker{j: j, src: src, p: p}
	c.policy()
	c.categories()
	c.purposes()
	c.exemptions()
	c.recipients()
	c.clauses()
	return p
}

// checker judges a source by what a policy may say, once it is known to be
// well formed.
type checker struct {
	j   *journal
	src *source
	p   *Policy
}

// CheckFile reads and checks the policy in a file and, where against names one
// too, whether what changed since that older policy asks its subjects again.
// The error tells that the older policy itself is not valid.
func CheckFile(path, against string) (Problems, error) {
	p, err := LoadFile(path)
	if err != nil {
		return asProblems(err), nil
	}
	if against == "" {
		return nil, nil
	}
	old, err := LoadFile(against)
	if err != nil {
		return nil, err
	}
	return p.Against(old), nil
}

// asProblems returns the problems that an error of Load holds.
func asProblems(err error) Problems {
	var ps Problems
	if !errors.As(err, &ps) {
		ps = Problems{{Message: err.Error()}}
	}
	return ps
}
