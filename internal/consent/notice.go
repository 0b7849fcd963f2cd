package consent

// Notice is what a policy tells a subject, as far as a [Receipt] repeats it.
type Notice struct {
	Policy       string   // the policy's id
	Versions     []string // oldest first; the last is in force
	Controller   string
	Contact      string
	Jurisdiction []string // where personal data stays: ISO 3166-1 alpha-2
	Retention    string   // how long data is kept, as the policy says
	// WithdrawalMethod says how consent is withdrawn: an address or a sentence.
	WithdrawalMethod string
	Purposes         []NoticePurpose
	Recipients       []NoticeRecipient
}

// Title is a text in the languages of the product.
type Title struct {
	ZH string `json:"zh,omitempty"`
	EN string `json:"en,omitempty"`
}

// NoticePurpose is a purpose, as a subject is told of it.
type NoticePurpose struct {
	ID         string
	Title      Title
	Basis      string // necessary, consent, explicit, separate
	Since      string // the version it came with; empty: the oldest
	Categories []NoticeCategory
	Recipients []string // ids of those who get data for it
}

// NoticeCategory is a kind of personal data, as a subject is told of it.
type NoticeCategory struct {
	ID        string
	Title     Title
	Sensitive bool
}

// NoticeRecipient is a recipient, as a subject is told of it.
type NoticeRecipient struct {
	ID      string
	Kind    string // first_party, processor, third_party, ad_partner, public
	Title   Title
	Vendor  string
	Country string // ISO 3166-1 alpha-2
}
