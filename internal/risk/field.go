package risk

// Role is what a field is to an attacker.
type Role string

// The roles.
const (
	// Quasi is a quasi-identifier: what an outsider may know of a person, and
	// what together with others of its kind may single that person out
	// (Dalenius 1986).
	Quasi Role = "quasi"
	// Sensitive is what an attacker wants to learn, and is not taken to know.
	Sensitive Role = "sensitive"
	// Direct is a direct identifier: it names a person by itself. None should
	// reach a recipient whose data is de-identified.
	Direct Role = "direct"
	// Pseudonym was made with a key that the recipient does not have.
	Pseudonym Role = "pseudonym"
	// RecordID numbers records and speaks of no person.
	RecordID Role = "record_id"
	// Other is what the policy says speaks of no person.
	Other Role = "other"
	// Ignored is left out, because whoever made the report said so.
	Ignored Role = "ignored"
)

// Because is why a field has its role.
type Because string

// The reasons.
const (
	ByFlag     Because = "flag"       // whoever made the report said so
	ByCategory Because = "category"   // the policy's release for its category
	ByKeep     Because = "keep"       // the recipient's list of what speaks of no person
	ByLooks    Because = "looks"      // nearly every value is different, and shaped as an id
	ByDefault  Because = "default"    // nothing is known of it: an outsider might know it
	NotAllowed Because = "undeclared" // the policy lets nothing of this kind go to the recipient
	TooMany    Because = "overflow"   // more fields than are told apart
)

// Assignment says what a field is.
type Assignment struct {
	Role Role
	// Sensitive says that what it holds is sensitive, whatever its role. A
	// quasi-identifier can be: where somebody was is known to some, and is
	// nobody's business.
	Sensitive bool
	// Subject says that its value tells whose record it is.
	Subject bool
	// Undeclared says that the recipient should not have it at all.
	Undeclared bool
	// Fixed says that the looks of the values do not change the role.
	Fixed    bool
	Category string // of the policy; empty: none
	Action   string // what the policy does to that category; empty: none
	Because  Because
}

// unknownField is the assignment where nobody says what a field is.
var unknownField = Assignment{Role: Quasi, Because: ByDefault}

// field is one path of the records, with a hash for each record.
type field struct {
	steps   []string // as first met, the least of all spellings
	as      Assignment
	column  []uint64 // by row; 0 or too short: absent
	present int      // records that have it
	shaped  int      // of them, those whose value is shaped as an id
	name    string   // as it is printed, once settled
}

func (f *field) at(row int) uint64 {
	if row < len(f.column) {
		return f.column[row]
	}
	return 0
}

// identifies reports whether the same value in the hands of two recipients
// joins what they have.
func (f *field) identifies() bool {
	return f.as.Role == Direct || f.as.Role == Pseudonym || f.as.Role == RecordID || f.as.Subject && f.as.Role != Ignored
}
