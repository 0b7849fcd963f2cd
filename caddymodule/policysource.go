package caddymodule

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/consentgate/consentgate/rules"
)

// policySource is where the app's policy comes from: a file, with what it
// includes, or one of the policies that ship with the program.
type policySource struct {
	name string
	// seen are the files that the last load looked for, present or not, and
	// sum is the digest of what they held. Both are empty for a policy that
	// ships with the program: it never changes.
	seen []string
	sum  [sha256.Size]byte
}

var shippedName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)

// load reads the policy. Its error names every problem, one a line.
func (s *policySource) load() (*rules.Policy, error) {
	if _, err := os.Stat(s.name); errors.Is(err, fs.ErrNotExist) && shippedName.MatchString(s.name) {
		return s.loadShipped()
	}
	abs, err := filepath.Abs(s.name)
	if err != nil {
		return nil, err
	}
	// The same root as rules.LoadFile takes.
	root := filepath.Dir(filepath.Dir(abs))
	name, err := filepath.Rel(root, abs)
	if err != nil {
		return nil, err
	}
	// A first reading tells which files to watch. Their digest is taken before
	// the reading that counts, so that no change can fall between the two.
	files := &notingFS{FS: os.DirFS(root)}
	_, _ = rules.Load(files, filepath.ToSlash(name))
	s.seen = s.seen[:0]
	for _, n := range files.names {
		s.seen = append(s.seen, filepath.Join(root, filepath.FromSlash(n)))
	}
	s.sum = s.digest()
	return rules.LoadFile(s.name)
}

func (s *policySource) loadShipped() (*rules.Policy, error) {
	policy, err := rules.Load(rules.Embedded, "policies/"+s.name+".yaml")
	if err == nil {
		return policy, nil
	}
	shipped, globErr := fs.Glob(rules.Embedded, "policies/*.yaml")
	if globErr != nil || slices.Contains(shipped, "policies/"+s.name+".yaml") {
		return nil, err
	}
	for i, n := range shipped {
		shipped[i] = strings.TrimSuffix(strings.TrimPrefix(n, "policies/"), ".yaml")
	}
	return nil, fmt.Errorf("policy %q: there is no such file, and the policies that ship with the program are: %s", s.name, strings.Join(shipped, ", "))
}

// changed reports whether a file that the policy was made of has changed since
// the last load.
func (s *policySource) changed() bool { return len(s.seen) > 0 && s.digest() != s.sum }

// digest hashes what the files hold now.
func (s *policySource) digest() (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, name := range s.seen {
		var one [sha256.Size]byte
		if b, err := readBounded(name); err == nil {
			one = sha256.Sum256(b)
		}
		h.Write(one[:])
	}
	h.Sum(sum[:0])
	return sum
}

// readBounded reads a file; a policy's files have at most 1 MiB.
func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 2<<20))
}

// notingFS notes the names that are asked of a file system.
type notingFS struct {
	fs.FS
	names []string
}

func (n *notingFS) note(name string) {
	if !slices.Contains(n.names, name) {
		n.names = append(n.names, name)
	}
}

// Open implements fs.FS.
func (n *notingFS) Open(name string) (fs.File, error) {
	n.note(name)
	return n.FS.Open(name)
}

// Stat implements fs.StatFS.
func (n *notingFS) Stat(name string) (fs.FileInfo, error) {
	n.note(name)
	return fs.Stat(n.FS, name)
}

// Interface guards
var _ fs.StatFS = (*notingFS)(nil)
