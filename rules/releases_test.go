package rules

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/payload"
)

var update = flag.Bool("update", false, "write the golden files anew")

var goldenNow = time.Date(2026, 1, 15, 8, 0, 0, 0, time.UTC)

// scenario is a column of the tables: what a subject has decided.
type scenario struct {
	zh, en string
	state  consent.State
}

func shipped(t testing.TB) *Policy {
	t.Helper()
	p, err := LoadFile("policies/liaoxiaobang.yaml")
	if err != nil {
		t.Fatalf("the policy that ships:\n%v", err)
	}
	return p
}

// answer makes grants of every purpose of a recipient that asks for one, and of
// cross_border where the recipient is abroad.
func answer(p *Policy, r *Recipient, status consent.Status, expires time.Time, only string) map[consent.GrantKey]consent.Grant {
	grants := map[consent.GrantKey]consent.Grant{}
	name := r.ID
	if r.Per != "" {
		name += ":client"
	}
	add := func(purpose, recipient string) {
		if only == "" || purpose == only {
			grants[consent.GrantKey{Purpose: purpose, Recipient: recipient}] = consent.Grant{
				Status: status, Version: p.InForce(), At: goldenNow.Add(-time.Hour), Expires: expires,
			}
		}
	}
	for _, id := range r.Purposes {
		switch p.Purpose(id).Basis {
		case Separate:
			add(id, name)
		case Necessary:
			if status != consent.Granted {
				add(id, "")
			}
		default:
			add(id, "")
		}
	}
	if r.Abroad {
		add(CrossBorder, name)
	}
	return grants
}

func scenarios(p *Policy, r *Recipient) []scenario {
	accepted := func(grants map[consent.GrantKey]consent.Grant) consent.State {
		return consent.State{Policy: p.InForce(), Version: 1, Grants: grants, Salt: []byte("0123456789abcdef")}
	}
	list := []scenario{
		{"无记录", "no state", consent.State{}},
		{"仅同意政策", "policy accepted", accepted(nil)},
	}
	purposes := r.Purposes
	if r.Abroad {
		purposes = append(append([]string(nil), purposes...), CrossBorder)
	}
	for _, id := range purposes {
		if u := p.Purpose(id); u == nil || u.Basis != Necessary {
			list = append(list, scenario{"同意 `" + id + "`", "grant of `" + id + "`", accepted(answer(p, r, consent.Granted, time.Time{}, id))})
		}
	}
	older := accepted(answer(p, r, consent.Granted, time.Time{}, ""))
	older.Policy = "2021-01-01"
	minor := accepted(answer(p, r, consent.Granted, time.Time{}, ""))
	minor.MinorUntil = goldenNow.AddDate(3, 0, 0)
	guarded := minor
	guarded.Guardian = &consent.Guardian{Method: "written", Purposes: []string{"*"}, Status: consent.Granted}
	return append(list,
		scenario{"全部同意", "all granted", accepted(answer(p, r, consent.Granted, time.Time{}, ""))},
		scenario{"全部撤回", "withdrawn", accepted(answer(p, r, consent.Withdrawn, time.Time{}, ""))},
		scenario{"同意已过期", "expired", accepted(answer(p, r, consent.Granted, goldenNow.Add(-time.Minute), ""))},
		scenario{"接受的是旧版本", "older version", older},
		scenario{"未成年人", "minor", minor},
		scenario{"未成年人，监护人已同意", "minor with guardian", guarded},
	)
}

func nameOf(a payload.Action) string {
	if a.Op != payload.Transform {
		return map[payload.Op]string{payload.Pass: "**pass**", payload.Drop: "–", payload.Null: "null", payload.Block: "block"}[a.Op]
	}
	name := fmt.Sprintf("%T", a.T)
	return name[strings.LastIndexByte(name, '.')+1:]
}

// table renders what a recipient gets of every category in every scenario.
func table(p *Policy, r *Recipient) string {
	plan, err := p.Plan(Inbound{}, RouteSpec{Recipient: r.ID})
	if err != nil {
		return err.Error()
	}
	list := scenarios(p, r)
	var b strings.Builder
	fmt.Fprintf(&b, "# %s %s · %s\n\n", r.Title.ZH, r.Title.EN, r.ID)
	b.WriteString("各栏为本人的决定，各行为个人信息类型。`–` 去除；**pass** 原样放行；block 整条拒绝；其余为去标识化方法。\n\n" +
		"A column is what the subject has decided, a row a category. `–` is dropped, **pass** goes as it is, block refuses the whole record, any other word de-identifies.\n\n" +
		regenerate)
	for i, s := range list {
		fmt.Fprintf(&b, "%d. %s · %s\n", i+1, s.zh, s.en)
	}
	b.WriteString("\n| 个人信息类型 category |")
	for i := range list {
		fmt.Fprintf(&b, " %d |", i+1)
	}
	b.WriteString("\n| --- |" + strings.Repeat(" --- |", len(list)) + "\n")
	for c, cat := range p.Categories() {
		fmt.Fprintf(&b, "| %s %s · `%s` |", cat.Title.ZH, cat.Title.EN, cat.ID)
		for _, s := range list {
			permits, _ := p.Permits(&s.state, goldenNow)
			per := ""
			if r.Per != "" {
				per = "client"
			}
			fmt.Fprintf(&b, " %s |", nameOf(plan.Routes[0].Release(permits, per).Action(payload.Category(c))))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// A grant for one recipient changes nothing for another.
func TestAGrantIsForItsRecipientAlone(t *testing.T) {
	p := shipped(t)
	for _, r := range p.Recipients() {
		plan, err := p.Plan(Inbound{}, RouteSpec{Recipient: r.ID})
		if err != nil {
			t.Fatal(err)
		}
		accepted := consent.State{Policy: p.InForce(), Version: 1}
		base, _ := p.Permits(&accepted, goldenNow)
		for _, other := range p.Recipients() {
			if other == r {
				continue
			}
			grants := map[consent.GrantKey]consent.Grant{}
			for k, g := range answer(p, other, consent.Granted, time.Time{}, "") {
				if k.Recipient != "" {
					grants[k] = g
				}
			}
			state := accepted
			state.Grants = grants
			permits, _ := p.Permits(&state, goldenNow)
			if plan.Routes[0].Release(permits, "client") != plan.Routes[0].Release(base, "client") {
				t.Errorf("what %s may have changes with grants for %s", r.ID, other.ID)
			}
		}
	}
}
