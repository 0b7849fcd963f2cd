package rules

// Notice is what an app needs to draw its consent dialog: what is asked, why,
// for whom, and by which clause. It holds no decision and no data of anyone.
type Notice struct {
	ID         string            `json:"id"`
	Title      *Title            `json:"title,omitempty"`
	Version    string            `json:"version"`  // in force
	Versions   []string          `json:"versions"` // oldest first
	Controller string            `json:"controller"`
	Contact    string            `json:"contact,omitempty"`
	Home       []string          `json:"home"`
	MinorUnder int               `json:"minor_under,omitempty"`
	Purposes   []PurposeNotice   `json:"purposes"`
	Recipients []RecipientNotice `json:"recipients"`
	Exemptions []ExemptionNotice `json:"exemptions"`
}

// PurposeNotice describes a purpose to those who are asked for it.
type PurposeNotice struct {
	ID     string `json:"id"`
	Title  Title  `json:"title"`
	Clause string `json:"clause,omitempty"`
	Basis  Basis  `json:"basis"`
	Since  string `json:"since"`
	// Sensitive says that the purpose uses something that the law calls so.
	Sensitive  bool       `json:"sensitive"`
	Uses       []Category `json:"uses"`
	Recipients []string   `json:"recipients"`
}

// RecipientNotice describes a recipient.
type RecipientNotice struct {
	ID      string `json:"id"`
	Kind    Kind   `json:"kind"`
	Title   Title  `json:"title"`
	Clause  string `json:"clause,omitempty"`
	Vendor  string `json:"vendor,omitempty"`
	Country string `json:"country,omitempty"`
	Since   string `json:"since"`
	// CrossBorder says that cross_border must be granted for it as well.
	CrossBorder bool `json:"cross_border"`
	// Per says that a grant names ID:VALUE, since several parties stand behind
	// the recipient.
	Per      bool     `json:"per"`
	Purposes []string `json:"purposes"`
}

// ExemptionNotice describes an exemption.
type ExemptionNotice struct {
	ID     string   `json:"id"`
	Title  *Title   `json:"title,omitempty"`
	Clause string   `json:"clause,omitempty"`
	Basis  Basis    `json:"basis"` // exempt
	Scope  []string `json:"scope"`
}

// Notice describes the policy, in the order of its file.
func (p *Policy) Notice() Notice {
	n := Notice{
		ID: p.ID(), Title: given(p.Title()), Version: p.InForce(), Versions: p.Versions(), Controller: p.Controller(),
		Contact: p.Contact(), Home: p.Home(), MinorUnder: p.MinorUnder(),
		Purposes: []PurposeNotice{}, Recipients: []RecipientNotice{}, Exemptions: []ExemptionNotice{},
	}
	for _, u := range p.purposes {
		un := PurposeNotice{
			ID: u.ID, Title: u.Title, Clause: u.Clause, Basis: u.Basis, Since: u.Since, Uses: []Category{}, Recipients: []string{},
		}
		for i, c := range p.categories {
			if u.uses.has(i) {
				un.Uses = append(un.Uses, c)
				un.Sensitive = un.Sensitive || c.Sensitive
			}
		}
		for _, r := range p.recipients {
			for _, ru := range r.purposes {
				if ru == u {
					un.Recipients = append(un.Recipients, r.ID)
				}
			}
		}
		n.Purposes = append(n.Purposes, un)
	}
	for _, r := range p.recipients {
		n.Recipients = append(n.Recipients, RecipientNotice{
			ID: r.ID, Kind: r.Kind, Title: r.Title, Clause: r.Clause, Vendor: r.Vendor, Country: r.Country, Since: r.Since,
			CrossBorder: r.Abroad, Per: r.Per != "", Purposes: r.Purposes,
		})
	}
	for _, x := range p.exemptions {
		xn := ExemptionNotice{ID: x.ID, Title: given(x.Title), Clause: x.Clause, Basis: Exempt}
		if x.Collect {
			xn.Scope = append(xn.Scope, "collect")
		}
		if x.Share {
			xn.Scope = append(xn.Scope, "share")
		}
		n.Exemptions = append(n.Exemptions, xn)
	}
	return n
}

func given(t Title) *Title {
	if t == (Title{}) {
		return nil
	}
	return &t
}
