package risk

import (
	"encoding/json"
	"io"
	"math"
	"time"
)

// Format is the version of the JSON of a report. It changes when a member
// changes its meaning or goes; new members may come.
const Format = "consentgate.risk/1"

// Report is the re-identification risk report about one recipient. Its JSON is
// documented here, member by member.
type Report struct {
	Format    string    `json:"format"` // "consentgate.risk/1"
	Date      time.Time `json:"date"`   // when it was made
	Policy    *Policy   `json:"policy,omitempty"`
	Recipient Recipient `json:"recipient"`
	Verdict   Verdict   `json:"verdict"`
	Sample    *Figures  `json:"sample"`           // what the recipient got
	Before    *Figures  `json:"before,omitempty"` // the same records before they were de-identified
	Link      *Link     `json:"link,omitempty"`   // against what another recipient got
}

// Policy is the policy that says what fields are.
type Policy struct {
	ID         string `json:"id"`
	Version    string `json:"version"`
	Controller string `json:"controller"`
	Digest     string `json:"digest"` // SHA-256 of its files, hexadecimal
}

// Recipient is who got the sample.
type Recipient struct {
	ID      string `json:"id"`
	TitleZH string `json:"title_zh,omitempty"`
	TitleEN string `json:"title_en,omitempty"`
	Kind    string `json:"kind,omitempty"`
	Vendor  string `json:"vendor,omitempty"`
	Country string `json:"country,omitempty"` // ISO 3166-1 alpha-2; empty: at home
}

// Thresholds are what a report is judged by.
type Thresholds struct {
	MinK      int     // the smallest class that may be
	MaxBelow  float64 // the share of records that may be in smaller ones; for MinL as well
	MaxUnique float64 // the share of records, and of subjects, that may be alone
	MinL      int     // the fewest values of a sensitive attribute in a class
	MaxT      float64 // the greatest distance of a class from the whole; 0: not judged
	MaxLinked float64 // the share of records that may match exactly one of the other recipient's
}

// CheckName names a check.
type CheckName string

// The checks.
const (
	CheckK          CheckName = "min_k"              // share of records in classes below MinK
	CheckUnique     CheckName = "max_unique"         // share of records, or of subjects, that are alone: the greater
	CheckL          CheckName = "min_l"              // share of records in classes with too few values of the attribute About
	CheckT          CheckName = "max_t"              // greatest distance of the attribute About
	CheckLinked     CheckName = "max_linked"         // share of records that match exactly one of the other recipient's
	CheckShared     CheckName = "shared_identifiers" // pairs of fields with values in common
	CheckDirect     CheckName = "direct_identifiers" // fields that name people
	CheckUndeclared CheckName = "undeclared_fields"  // fields that the policy does not let go to the recipient
	CheckLooks      CheckName = "looks"              // categories that the recipient may not have, found in values
)

// Check is one threshold with the figure that it is held against. It passes if
// Figure is no greater than Limit.
type Check struct {
	Name CheckName `json:"name"`
	// About is the sensitive attribute; empty: the whole sample.
	About string `json:"about,omitempty"`
	// Wanted is MinK or MinL: what the figure is the share of records below; 0
	// for all others.
	Wanted int     `json:"wanted,omitempty"`
	Limit  float64 `json:"limit"`
	Figure float64 `json:"figure"`
	Pass   bool    `json:"pass"`
}

// Verdict says whether the sample keeps within the thresholds.
type Verdict struct {
	Pass   bool    `json:"pass"`
	Failed int     `json:"failed"`
	Checks []Check `json:"checks"`
}

// Judge holds the figures of a report against thresholds.
func (r *Report) Judge(t Thresholds) {
	v := Verdict{Pass: true}
	check := func(c Check) {
		c.Pass = c.Figure <= c.Limit
		if !c.Pass {
			v.Pass = false
			v.Failed++
		}
		v.Checks = append(v.Checks, c)
	}
	m := r.Sample
	for _, b := range m.Below {
		if b.K == max(t.MinK, 1) {
			check(Check{Name: CheckK, Wanted: t.MinK, Limit: t.MaxBelow, Figure: b.Share})
		}
	}
	check(Check{Name: CheckUnique, Limit: t.MaxUnique, Figure: math.Max(m.Unique.RecordShare, m.Unique.SubjectShare)})
	for _, s := range m.Sensitive {
		check(Check{Name: CheckL, About: s.Name, Wanted: t.MinL, Limit: t.MaxBelow, Figure: s.Below})
		if t.MaxT > 0 {
			check(Check{Name: CheckT, About: s.Name, Limit: t.MaxT, Figure: s.Closeness})
		}
	}
	direct, undeclared := 0, 0
	for _, f := range m.Fields {
		if f.Role == Direct {
			direct++
		}
		if f.Undeclared {
			undeclared++
		}
	}
	check(Check{Name: CheckDirect, Figure: float64(direct)})
	if r.Policy != nil {
		check(Check{Name: CheckUndeclared, Figure: float64(undeclared)})
		check(Check{Name: CheckLooks, Figure: float64(len(m.Looks))})
	}
	if l := r.Link; l != nil {
		check(Check{Name: CheckShared, Figure: float64(len(l.Shared))})
		check(Check{Name: CheckLinked, Limit: t.MaxLinked, Figure: l.ExactShare})
	}
	r.Verdict = v
}

// WriteJSON writes the report as JSON.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
