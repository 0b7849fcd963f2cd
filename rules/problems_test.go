package rules

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

// sound is a policy without problems; the cases below break it.
const sound = `policy:
  id: sound
  versions: [2024-01-01, 2025-01-01]
  controller: Someone
  home: [CN]
categories:
  dev.id: {title: {zh: 编号, en: Id}, keys: [dev_id]}
  dev.mac: {title: {zh: 地址, en: Mac}, keys: [mac]}
  loc: {title: {zh: 位置, en: Place}, sensitive: true, keys: [loc]}
purposes:
  run: {title: {zh: 运行, en: Run}, basis: necessary, uses: [dev.id]}
  ask: {title: {zh: 询问, en: Ask}, basis: separate, uses: [loc]}
exemptions:
  law: {scope: [collect], uses: [loc]}
recipients:
  app:
    kind: first_party
    title: {zh: 应用, en: App}
    purposes: [run, ask]
  ads:
    kind: ad_partner
    title: {zh: 广告, en: Ads}
    purposes: [run, ask]
    release:
      - {category: dev.id, as: pseudonym}
    keep: [id]
    headers: [Accept]
clauses:
  "9": TestSomething
`

// TestProblems breaks the policy. In what replaces a text, § stands before each
// place that a problem is to name; the problems come in the order of the places.
func TestProblems(t *testing.T) {
	const (
		basis   = `basis: necessary`
		uses    = `uses: [dev.id]}`
		entry   = `{category: dev.id, as: pseudonym}`
		listed  = "    purposes: [run, ask]\n    release:"
		headers = `headers: [Accept]`
	)
	for _, tt := range []struct {
		name, old, broken string
		want              []string
	}{
		// The document.
		{"not YAML", "    kind: first_party", "§    kind: first_party: x", []string{`this is not YAML: mapping values are not allowed in this context`}},
		{"two documents", `  "9": TestSomething`, "  \"9\": TestSomething\n§---\na: 1", []string{`a second YAML document: one file holds one policy or one pack`}},
		{"an alias", "home: [CN]", "home: [§*x]", []string{`this is not YAML: unknown anchor 'x' referenced`}},
		{"an anchor", "home: [CN]", "home: §&x [CN]", []string{`the anchor &x: anchors are not part of the language, take it away`}},
		{"a merge key", basis, "§<<: {a: 1}, basis: necessary", []string{`the merge key <<: is not part of the language, write the members out`}},
		{"a tag", basis, "basis: §!!str necessary", []string{`the tag !!str: tags are not part of the language, take it away`}},
		{"too deep", uses, "uses: " + strings.Repeat("[", 14) + "§[]" + strings.Repeat("]", 14) + "}", []string{`more than 16 levels deep`}},
		{"a list for a policy", "", "§- a\n", []string{`a policy must be a mapping`}},
		{"a key that is no text", basis, `§[a]: b, basis: necessary`, []string{`a key must be a text`}},

		// Keys and values.
		{"unknown key, like one", basis, `§basiss: necessary, basis: necessary`, []string{`unknown key "basiss" in run: did you mean "basis"?`}},
		{"unknown key, like none", "controller: Someone", "controller: Someone\n  §spokesperson: Someone", []string{`unknown key "spokesperson" in policy: write one of id, title, versions, controller, contact, home, minor`}},
		{"a key twice", basis, `basis: necessary, §basis: consent`, []string{`the key "basis" stands here already, on line 11: write it once`}},
		{"a key is missing", "{title: {zh: 运行, en: Run}, " + basis + ",", "§{title: {zh: 运行, en: Run},", []string{`run lacks "basis": one of necessary, consent, explicit, separate`}},
		{"a date is missing", "  id: sound\n  versions: [2024-01-01, 2025-01-01]\n", "  §id: sound\n", []string{`policy lacks "versions"`}},
		{"a value that is none of several", basis, `basis: §neccessary`, []string{`basis cannot be "neccessary": did you mean "necessary"?`}},
		{"a value that is like none", "kind: first_party", "kind: §enterprise", []string{`kind cannot be "enterprise": write one of first_party, processor, third_party, ad_partner, public`}},
		{"a text for a list", uses, "uses: §dev.id}", []string{`uses must be a list, not "dev.id"`}},
		{"nothing for a list", "home: [CN]", "home: §[]", []string{`home is empty: list at least one, or leave it out`}},
		{"nothing for a text", "controller: Someone", "controller: §~", []string{`controller must be a text, and is empty`}},
		{"an empty text", "controller: Someone", `controller: §" "`, []string{`controller is empty`}},
		{"a truth for a text", "controller: Someone", "controller: §true", []string{`controller must be a text, not true (in quotes it is a text)`}},
		{"a text for a truth", "sensitive: true", "sensitive: §'true'", []string{`sensitive must be true or false, not "true"`}},
		{"a text for a number", "home: [CN]", "home: [CN]\n  minor: {under: §eighteen}", []string{`under must be a whole number, not "eighteen"`}},
		{"too great a number", "home: [CN]", "home: [CN]\n  minor: {under: §99}", []string{`under must be a whole number from 1 to 30`}},
		{"no date", "2025-01-01]", "§25-1-1]", []string{`an element of versions cannot be "25-1-1": write a date such as 2022-03-09`}},
		{"no country", "home: [CN]", "home: [CN, §China]", []string{`an element of home cannot be "China": write two capital letters of ISO 3166, such as CN`}},
		{"no category", uses, "uses: [dev.id, §Dev.Mac]}", []string{`an element of uses cannot be "Dev.Mac": write a category, one with '.*' after it, or '*'`}},
		{"no name of a recipient", "  app:", "  §App:", []string{`"App": a name in recipients must be lower-case letters, digits and '_', such as open_platform`}},
		{"no header", headers, `headers: [§"a b"]`, []string{`an element of headers cannot be "a b": write the name of an HTTP header, such as X-Geo`}},
		{"no placeholder", "kind: first_party", "kind: first_party\n    per: §X-Client-Id", []string{`per cannot be "X-Client-Id": write a placeholder such as "{http.request.header.X-Client-Id}"`}},
		{"no test", `"9": TestSomething`, `"9": §Something`, []string{`9 cannot be "Something": write the name of a test, such as TestLeakCanary`}},

		// Versions.
		{"no such day", "2025-01-01]", "§2025-02-30]", []string{`there is no day 2025-02-30: write one as 2022-03-09`}},
		{"a version twice", "2025-01-01]", "§2024-01-01]", []string{`the version 2024-01-01 stands here twice: list it once`}},
		{"versions in disorder", "2025-01-01]", "§2023-01-01]", []string{`the version 2023-01-01 stands after 2024-01-01: list the oldest first, since the last is in force`}},
		{"a since that is no version", basis, basis + ", since: §2025-01-02", []string{`since 2025-01-02 is no version of this policy: did you mean "2025-01-01"?`}},
		{"a recipient's since", "kind: first_party", "kind: first_party\n    since: §2019-12-31", []string{`since 2019-12-31 is no version of this policy: write one of 2024-01-01, 2025-01-01`}},

		// Categories.
		{"no title", "dev.mac: {title: {zh: 地址, en: Mac}, keys", "§dev.mac: {keys", []string{`dev.mac has no title: write title: {zh: …, en: …}`}},
		{"half a title", "{zh: 地址, en: Mac}", "§{zh: 地址}", []string{`title lacks "en"`}},
		{"a key that is nothing", "keys: [mac]", "keys: [mac, §'$_']", []string{`the key "$_" folds to nothing, since '_', '-', '.', space and leading '$', '@', '#' do not count: take it away`}},
		{"a key twice, folded", "keys: [mac]", "keys: [mac, §MAC]", []string{`the key "MAC" is compared as "mac", and so is "mac" on line 8: list it once`}},
		{"a path twice", "keys: [mac]", "paths: [a.mac, §a.mac]", []string{`the path "a.mac" stands here already, on line 8: list it once`}},
		{"a header twice", "keys: [mac]", "headers: [X-Mac, §x-mac]", []string{`the header "x-mac" stands here already, on line 8: list it once`}},
		{"no detector", "keys: [mac]", "detect: §macs", []string{`detect cannot be "macs": did you mean "mac"?`}},

		// Patterns.
		{"a category that is none", uses, "uses: [dev.id, §dev.ids]}", []string{`no category is covered by "dev.ids": did you mean "dev.id"?`}},
		{"the head of several", uses, "uses: [dev.id, §dev]}", []string{`no category is covered by "dev": write dev.* for all categories below it`}},
		{"covered twice", uses, `uses: [§dev.id, "dev.*"]}`, []string{`the purpose run uses dev.id already, by "dev.*" on line 11: take one of them away`}},
		{"the same twice", uses, `uses: [dev.id, §dev.id]}`, []string{`the purpose run uses dev.id already, by "dev.id" on line 11: take one of them away`}},
		{"an exemption's", "uses: [loc]}\nrec", "uses: [loc, §locs]}\nrec", []string{`no category is covered by "locs": did you mean "loc"?`}},

		// Purposes and exemptions.
		{"a purpose that never runs", "exemptions:", "  §idle: {title: {zh: 闲, en: Idle}, basis: consent, uses: [loc]}\nexemptions:", []string{`no recipient lists the purpose idle, so it never runs: list it under a recipient's purposes or take it away`}},
		{"a reserved purpose", "exemptions:", "  §cross_border: {title: {zh: 境, en: Border}, basis: separate, uses: [loc]}\nexemptions:", []string{`cross_border is reserved: it exists in every policy, for every recipient whose country is outside policy.home; take it away`}},
		{"another", "exemptions:", "  §policy: {title: {zh: 策, en: Policy}, basis: separate, uses: [loc]}\nexemptions:", []string{`policy is reserved for the acceptance of the policy itself: call the purpose something else`}},
		{"sensitive without a reason", uses, "uses: [dev.id, §loc]}", []string{`loc is sensitive, and run is necessary, so nobody is asked: write sensitive_ok: REASON, or make the purpose explicit`}},
		{"a reason for nothing", uses, "sensitive_ok: §because, " + uses, []string{`sensitive_ok explains nothing, since run uses no sensitive category of "*": take it away`}},
		{"a reason for another", uses, "sensitive_ok: {loc: because, §dev.mac: because}, uses: [dev.id, loc]}", []string{`sensitive_ok explains nothing, since run uses no sensitive category of "dev.mac": take it away`}},
		{"a reason where people are asked", "basis: separate", "basis: separate, sensitive_ok: §because", []string{`sensitive_ok speaks of necessary purposes, and ask is separate: take it away`}},
		{"an exemption that is a purpose", "  law:", "  §run:", []string{`run is a purpose too: an exemption needs a name of its own, since routes name both`}},
		{"a scope twice", "scope: [collect]", "scope: [collect, §collect]", []string{`scope lists collect twice: list it once`}},

		// Recipients.
		{"a purpose that is none", listed, strings.Replace(listed, "ask]", "§asks]", 1), []string{`there is no purpose "asks": did you mean "ask"?`}},
		{"a purpose twice", listed, strings.Replace(listed, "ask]", "ask, §run]", 1), []string{`ads lists the purpose run twice: list it once`}},
		{"crossing listed", listed, strings.Replace(listed, "ask]", "ask, §cross_border]", 1), []string{`cross_border is reserved: no recipient lists it; write country: and it is asked for wherever that is outside policy.home`}},
		{"a processor without separate", "kind: first_party\n    title: {zh: 应用, en: App}\n    purposes: [run", "kind: processor\n    title: {zh: 应用, en: App}\n    purposes: [§run", []string{`app is a processor, so its purposes must be separate, and run is necessary: give it a purpose of its own with basis: separate`}},
		{"the public without separate", "kind: first_party\n    title: {zh: 应用, en: App}\n    purposes: [run", "kind: public\n    title: {zh: 应用, en: App}\n    purposes: [§run", []string{`app is a public, so its purposes must be separate, and run is necessary: give it a purpose of its own with basis: separate`}},
		{"a header that joins", headers, "headers: [Accept, §Cookie]", []string{`Cookie must not go to an ad partner, since it says whom or which request others see: take it away`}},
		{"keep that keeps nothing", "keep: [id]", "unknown: pass\n    keep: [§id]", []string{`keep spares from unknown: drop, and ads passes what is unknown: take keep away or write unknown: drop`}},
		{"keep twice", "keep: [id]", "keep: [id, §id]", []string{`keep lists "id" twice: list it once`}},

		// Release.
		{"no action", entry, "{category: dev.id, as: §~}", []string{`~ is no action: write null, or drop`}},
		{"an action that is left out", entry, "§{category: dev.id}", []string{`an element of release lacks "as"`}},
		{"an empty action", entry, "{category: dev.id, as: §''}", []string{`as is empty: write pass, drop, null, block or a transform`}},
		{"two actions", entry, "{category: dev.id, as: §{geo: {decimals: 1}, ip: {}}}", []string{`an action is one word, or one transform with its arguments: write pass, drop, null, block, pseudonym, {geo: city} or the like`}},
		{"an argument for none", entry, "{category: dev.id, as: §{pass: 1}}", []string{`pass takes no arguments: write it alone`}},
		{"else: pass", entry, "{category: dev.id, as: pseudonym, else: §pass}", []string{`else: pass would release dev.id without any permitted purpose: write drop, null or block`}},
		{"else that transforms", entry, "{category: dev.id, as: pass, else: §pseudonym}", []string{`else: pseudonym would release something of dev.id to ads against a refusal: outside first_party write drop, null or block`}},
		{"an entry's purpose that is none", entry, "{category: dev.id, purpose: §rum, as: pseudonym}", []string{`there is no purpose "rum": did you mean "run"?`}},
		{"an entry for crossing", entry, "{category: dev.id, purpose: §cross_border, as: pseudonym}", []string{`cross_border is reserved and holds for the whole recipient: take the purpose away`}},
		{"an entry of another's purpose", listed, "    purposes: [run]\n    release:\n      - {category: loc, purpose: §ask, as: {geo: {decimals: 1}}}", []string{`ads does not list the purpose ask, so the entry never fits: add it to its purposes, or write one of run`}},
		{"an entry behind another", entry, entry + "\n      - §{category: dev.id, purpose: run, as: pass}", []string{`the entry is never reached: the one for dev.id on line 25 fits whenever this one does; put the narrower one first or take one away`}},
		{"a second else", entry, "{category: dev.id, purpose: run, as: pseudonym}\n      - {category: dev.id, as: drop, else: §block}", []string{`else counts only at the first entry for dev.id, on line 25: move it there`}},
		{"an entry covered by longer ones", entry, `{category: §"dev.*", as: pseudonym}` + "\n      - " + entry + "\n      - {category: dev.mac, as: drop}", []string{`the entry is never reached: entries with longer patterns decide about all that "dev.*" covers; take it away`}},
		{"an entry for what nobody uses", entry, entry + "\n      - {category: §dev.mac, as: pass}", []string{`the entry never fits: no purpose of ads uses what "dev.mac" covers; add it to the uses of one or take the entry away`}},
		{"more than the purpose uses", entry, `{category: §"dev.*", purpose: run, as: pseudonym}`, []string{`the entry gives dev.mac for run, which does not use it: add it to the purpose's uses or name less here`}},
		{"sensitive, as it is, unasked", "", strings.NewReplacer(uses, "sensitive_ok: because, uses: [dev.id, loc]}", entry, entry+"\n      - {category: loc, as: §pass}").Replace(sound),
			[]string{`loc is sensitive and would reach the ad partner ads as it is, for run, which is necessary: name a purpose that is separate, or a transform`}},

		// Free text, and what is as good as the id itself.
		{"free text for an ad partner", "", strings.NewReplacer("keys: [dev_id]}", "free_text: true, keys: [dev_id]}", "as: pseudonym", "as: §pseudonym").Replace(sound), []string{`dev.id is free text, in which anything may stand, so nothing of it may reach the ad partner ads: write drop, or name less here`}},
		{"a text for whether text is free", "keys: [dev_id]}", "free_text: §maybe, keys: [dev_id]}", []string{`free_text must be true or false, not "maybe"`}},
		{"a digest that nobody said yes to", entry, "{category: dev.id, purpose: run, as: §{digest: md5}}", []string{`digest of an id is that id, since whoever has the id can compute it: name a purpose in the entry that is explicit or separate, or write pseudonym`}},
		{"a digest for any purpose", entry, "{category: dev.id, as: §{digest: md5}}", []string{`digest of an id is that id, since whoever has the id can compute it: name a purpose in the entry that is explicit or separate, or write pseudonym`}},
		{"a digest called hash", entry, "{category: dev.id, as: §md5}", []string{`no transform is called "md5": whoever has the id can compute its hash, so a hash of an id is that id; write pseudonym, or, where a partner has to join by the hash and people expressly said yes to that, {digest: md5} in an entry with such a purpose`}},

		// Pseudonyms.
		{"an epoch that is no span", headers, headers + "\n    pseudonyms: {epoch: §quarter}", []string{`epoch cannot be "quarter": write a number and a unit (s, m, h or d), such as 24h or 90d`}},
		{"an epoch too short", headers, headers + "\n    pseudonyms: {epoch: §1h}", []string{`epoch cannot be 1h: write 1d to 400d`}},
		{"an overlap too long", headers, headers + "\n    pseudonyms: {epoch: 10d, overlap: §6d}", []string{`overlap cannot be 6d: write half of the epoch of 10d at most`}},
		{"nothing to change", "kind: first_party", "kind: first_party\n    pseudonyms: §{epoch: 10d}", []string{`no entry of app makes a pseudonym, so there is nothing to change: take pseudonyms away`}},

		// What the gateway writes itself.
		{"a member of many places", headers, set(`path: §"a.*.lmt", value: 1`), []string{`path "a.*.lmt": what is written has one place, so the path has no wildcards`}},
		{"a member without a value", headers, set(`path: a.lmt, value: §~`), []string{`value must be a text, a number, true or false, and is empty`}},
		{"a member that is none of JSON", headers, set(`path: a.lmt, value: §.inf`), []string{`JSON has no .inf: write another value`}},
		{"a member twice", headers, set(`path: a.lmt, value: 1}, {path: §A.LMT, value: 0`), []string{`A.LMT is set already, on line 28: set it once`}},
		{"a member inside another", headers, set(`path: a, value: 1}, {path: §a.lmt, value: 0`), []string{`a.lmt stands inside a, which is set on line 28: set one of them`}},
		{"a member for no purpose", headers, set(`path: a.lmt, value: 1, unless: §asks`), []string{`there is no purpose "asks": did you mean "ask"?`}},
		{"a member when it rains", headers, set(`path: a.lmt, value: 1, when: §rain`), []string{`when cannot be "rain": write one of minor`}},
		{"the record itself made", headers, set(`path: §lmt, value: 1, create: true`), []string{`path "lmt": create makes the object around a member, and this one stands in the record itself`}},

		// Several at once, in the order of their lines.
		{"all at once", "", strings.NewReplacer(
			"id: sound", "id: §Sound", basis, "§bases: x, basis: §neccessary", uses, "uses: [dev.id, §dev.ids]}",
			"kind: first_party", "kind: §firstparty", "[run, ask]\n  ads", "[run, §asks]\n  ads", "as: pseudonym", "as: §pseudonim", headers, "headers: [§Cookie]",
		).Replace(sound), []string{
			`id cannot be "Sound": write lower-case letters, digits, '-' and '_', such as liaoxiaobang`,
			`unknown key "bases" in run: did you mean "basis"?`,
			`basis cannot be "neccessary": did you mean "necessary"?`,
			`no category is covered by "dev.ids": did you mean "dev.id"?`,
			`kind cannot be "firstparty": did you mean "first_party"?`,
			`there is no purpose "asks": did you mean "ask"?`,
			`no transform is called "pseudonim"; did you mean pseudonym?`,
			`Cookie must not go to an ad partner, since it says whom or which request others see: take it away`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := tt.broken
			if tt.old != "" {
				if n := strings.Count(sound, tt.old); n != 1 {
					t.Fatalf("%q stands %d times in the policy", tt.old, n)
				}
				text = strings.Replace(sound, tt.old, tt.broken, 1)
			}
			checkProblems(t, text, tt.want)
		})
	}
	checkProblems(t, sound, nil)
}

// set is the headers of ads with a member that is written.
func set(member string) string { return "headers: [Accept]\n    set: [{" + member + "}]" }

func checkProblems(t *testing.T, text string, messages []string) {
	t.Helper()
	text, places := marked(text)
	_, err := Load(fstest.MapFS{"p.yaml": {Data: []byte(text)}}, "p.yaml")
	var want []string
	for i, m := range messages {
		at := "?"
		if i < len(places) {
			at = places[i]
		}
		want = append(want, "p.yaml:"+at+": "+m)
	}
	got := ""
	if err != nil {
		got = err.Error()
	}
	if got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// marked takes the marks out of a text and returns where they stood.
func marked(text string) (plain string, places []string) {
	var out []string
	for i, line := range strings.Split(text, "\n") {
		for {
			before, after, found := strings.Cut(line, "§")
			if !found {
				break
			}
			places = append(places, fmt.Sprintf("%d:%d", i+1, len([]rune(before))+1))
			line = before + after
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n"), places
}
