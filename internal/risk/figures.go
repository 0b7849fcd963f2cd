package risk

// Figures are what is measured of one sample. Shares are between 0 and 1, and
// everything that counts records counts those that were kept.
type Figures struct {
	File    string `json:"file"`    // its name, without the folder
	Records int    `json:"records"` // read
	Used    int    `json:"used"`    // kept, and so measured: fewer if the sample had to be cut to fit the memory
	// Subjects is how many there are; 0: no subject field was named, and every
	// record counts as a person of its own.
	Subjects       int `json:"subjects"`
	WithoutSubject int `json:"without_subject"` // records that name none, though others do: together they count as one subject

	Quasi        []string `json:"quasi_identifiers"` // the paths that classes are formed by
	Combinations int      `json:"combinations"`      // equivalence classes

	K          Sizes    `json:"k"`
	Below      []Below  `json:"below"`
	Unique     Unique   `json:"unique"`
	Prosecutor Attack   `json:"prosecutor"`
	Histogram  []Bin    `json:"histogram"`
	Cumulative []AtMost `json:"cumulative"`
	Fields     []Field  `json:"fields"`
	Subsets    []Subset `json:"subsets"`
	SubsetsOf  int      `json:"subsets_of"` // records that the subsets were measured on
	Sensitive  []Secret `json:"sensitive"`
	Looks      []Count  `json:"looks"` // categories that values speak of by their looks, and that the recipient may not have
}

// Sizes are those of equivalence classes: k, the number of subjects that no
// quasi-identifier tells apart (records, where no subject is named).
type Sizes struct {
	Min int `json:"min"` // what k-anonymity is about (Sweeney 2002)
	// Median and Mean are those of records, not of classes: half of the records
	// stand in a class of at most Median.
	Median int     `json:"median"`
	Mean   float64 `json:"mean"`
	Max    int     `json:"max"`
}

// Below is how much stands in classes smaller than K.
type Below struct {
	K       int     `json:"k"`
	Records int     `json:"records"`
	Share   float64 `json:"share"`
}

// Unique is who is alone in a class.
type Unique struct {
	Records      int     `json:"records"`
	RecordShare  float64 `json:"record_share"`
	Subjects     int     `json:"subjects"` // with at least one such record
	SubjectShare float64 `json:"subject_share"`
}

// Attack is the risk of re-identification by El Emam and Dankar, "Protecting
// privacy using k-anonymity" (JAMIA 15, 2008), and El Emam, "Guide to the
// De-Identification of Personal Health Information" (2013).
type Attack struct {
	// Max is the highest risk of any record: 1/k of the smallest class.
	Max float64 `json:"max"`
	// Average is the mean over all records (marketer risk: the share of all
	// that an attacker would get right by guessing): classes / records.
	Average float64 `json:"average"`
	// Above is the share of records whose risk is over Threshold.
	Above     float64 `json:"above"`
	Threshold float64 `json:"threshold"`
}

// Bin holds the classes of From to To subjects.
type Bin struct {
	From    int `json:"from"`
	To      int `json:"to"`
	Classes int `json:"classes"`
	Records int `json:"records"`
	// UpTo is the share of records in classes of at most To subjects.
	UpTo float64 `json:"up_to"`
}

// AtMost is the share of records in classes of at most K subjects. Each size up to
// 64 that occurs has one, and each power of two above.
type AtMost struct {
	K     int     `json:"k"`
	Share float64 `json:"share"`
}

// Field is one path of the records.
type Field struct {
	// Path in the path grammar. '*' stands where a name is not printed, since
	// few people have it, or since it has the shape of a value.
	Path       string  `json:"path"`
	Role       Role    `json:"role"`
	Sensitive  bool    `json:"sensitive"`
	Subject    bool    `json:"subject"`
	Undeclared bool    `json:"undeclared"` // the policy lets nothing of it go to this recipient
	Category   string  `json:"category,omitempty"`
	Action     string  `json:"action,omitempty"`
	Because    Because `json:"because"`
	Present    float64 `json:"present"`  // share of records that have it
	Distinct   int     `json:"distinct"` // values
	// Entropy of its values in bits (Shannon), not having it being one of them;
	// each subject counts once with each value.
	Entropy float64 `json:"entropy_bits"`
	// Unique is the share of records that this field alone singles out.
	Unique float64 `json:"unique"`
	// Marginal is by how much the share of unique records falls when this field
	// alone is left out of the quasi-identifiers; 0 for other roles.
	Marginal float64 `json:"marginal"`
}

// Subset is a small set of quasi-identifiers and the share of records that it
// singles out.
type Subset struct {
	Paths  []string `json:"paths"`
	Unique float64  `json:"unique"`
}

// Secret is a sensitive attribute: the fields of one category, or one field.
// Classes are formed by all quasi-identifiers but its own.
type Secret struct {
	Name  string   `json:"name"` // the category, or the path
	Paths []string `json:"paths"`
	// Distinct is distinct l-diversity: the fewest different values in any class
	// (Machanavajjhala et al., "l-Diversity", TKDD 1, 2007). A class in which
	// nobody has a value tells nothing and does not count.
	Distinct int `json:"distinct_l"`
	// Entropy is entropy l-diversity: the least exponential of the entropy of
	// the values of a class, "as good as so many equally likely ones".
	Entropy float64 `json:"entropy_l"`
	// Below is the share of records in classes of fewer than the wanted number
	// of values.
	Below float64 `json:"below"`
	// Closeness is t-closeness: the greatest distance between the distribution
	// in a class and in the whole (Li et al., "t-Closeness", ICDE 2007). The
	// distance is total variation, which is the earth mover's between values
	// that are all equally far apart. Mean weighs the classes by records.
	Closeness float64 `json:"t_max"`
	Mean      float64 `json:"t_mean"`
}
