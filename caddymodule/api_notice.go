package caddymodule

import (
	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/rules"
)

// catalogueOf returns what an app needs to draw its consent dialog.
func catalogueOf(p *rules.Policy) rules.Notice { return p.Notice() }

// noticeOf returns what a receipt repeats of a policy.
func noticeOf(p *rules.Policy) consent.Notice {
	from := p.Notice()
	n := consent.Notice{
		Policy: from.ID, Versions: from.Versions, Controller: from.Controller, Contact: from.Contact, Jurisdiction: from.Home,
		Retention:        "until the account is cancelled",
		WithdrawalMethod: "in the app, at any time; or at the contact of the controller",
	}
	for _, u := range from.Purposes {
		purpose := consent.NoticePurpose{
			ID: u.ID, Title: consent.Title(u.Title), Basis: string(u.Basis), Since: u.Since, Recipients: u.Recipients,
		}
		for _, c := range u.Uses {
			purpose.Categories = append(purpose.Categories, consent.NoticeCategory{
				ID: c.ID, Title: consent.Title(c.Title), Sensitive: c.Sensitive,
			})
		}
		n.Purposes = append(n.Purposes, purpose)
	}
	for _, r := range from.Recipients {
		n.Recipients = append(n.Recipients, consent.NoticeRecipient{
			ID: r.ID, Kind: string(r.Kind), Title: consent.Title(r.Title), Vendor: r.Vendor, Country: r.Country,
		})
	}
	return n
}
