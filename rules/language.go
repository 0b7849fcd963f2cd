package rules

import "regexp"

// The grammars of names and values.
var (
	dotted    = &grammar{regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z0-9][a-z0-9_]*)*$`), "lower-case steps joined by dots, such as device.id.imei"}
	plain     = &grammar{regexp.MustCompile(`^[a-z][a-z0-9_]*$`), "lower-case letters, digits and '_', such as open_platform"}
	covering  = &grammar{regexp.MustCompile(`^(\*|[a-z][a-z0-9_]*(\.[a-z0-9][a-z0-9_]*)*(\.\*)?)$`), "a category, one with '.*' after it, or '*'"}
	date      = &grammar{regexp.MustCompile(`^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$`), "a date such as 2022-03-09"}
	country   = &grammar{regexp.MustCompile(`^[A-Z]{2}$`), "two capital letters of ISO 3166, such as CN"}
	token     = &grammar{regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"), "the name of an HTTP header, such as X-Geo"}
	held      = &grammar{regexp.MustCompile(`^\{[^{}]+\}$`), `a placeholder such as "{http.request.header.X-Client-Id}"`}
	span      = &grammar{regexp.MustCompile(`^[1-9][0-9]{0,5}[smhd]$`), "a number and a unit (s, m, h or d), such as 24h or 90d"}
	clauseRef = &grammar{regexp.MustCompile(`^\S.*$`), `a clause of the policy's text, such as "1.2"`}
)

// The detectors that a category may name. Only those in the first line look
// for a shape with a check digit or a telling prefix, and are looked for
// everywhere; a category must ask for the others by name.
// They are internal/detect's names.
var detectorNames = []string{
	"imei", "meid", "iccid", "imsi", "mac", "phone", "id_card", "card", "email", "ipv4", "ipv6",
	"latlng", "idfa", "oaid", "android_id", "uuid", "hex16", "hex32",
}

// The bases of purposes, see [Basis].
var basisNames = []string{string(Necessary), string(Consent), string(Explicit), string(Separate)}

// The kinds of recipients, see [Kind].
var kindNames = []string{string(FirstParty), string(Processor), string(ThirdParty), string(AdPartner), string(Public)}

func texts(doc string, g *grammar) *shape {
	return &shape{form: list, doc: doc, min: 1, elem: &shape{form: text, grammar: g}}
}

var (
	clauseShape = &shape{form: text, doc: "The clause of the policy's text that this rule enforces.", grammar: clauseRef}
	titleShape  = &shape{form: object, doc: "What people read, in Chinese and English.", fields: []field{
		{"zh", true, &shape{form: text, doc: "中文"}},
		{"en", true, &shape{form: text, doc: "English"}},
	}}
	asShape   = &shape{form: action, doc: "What happens to the value where the entry fits: pass, drop, null, block, or a de-identifying transform, by its name or as a mapping from its name to its arguments."}
	elseShape = &shape{form: action, doc: "What happens where none of the pattern's entries fits; stands at the first of them. Default: drop."}
)

var categoryShape = &shape{form: object, fields: []field{
	{"title", false, titleShape},
	{"clause", false, clauseShape},
	{"sensitive", false, &shape{form: boolean, doc: "Whether the law calls it sensitive. Where a pack and a policy both speak of a category, it can only become so."}},
	{"free_text", false, &shape{form: boolean, doc: "Whether people write it freely, so that anything may stand in it: no ad partner gets it, as it is or transformed. Where a pack and a policy both speak of a category, it can only become so."}},
	{"keys", false, texts("Member names, anywhere in a record; query parameters, form fields and cookies too. Compared folded: case, '_', '-', '.', ' ' and a leading '$', '@' or '#' do not count.", nil)},
	{"paths", false, texts("Paths anchored at the record: steps joined by '.', '*' is one step, '**' any number (first or last only).", nil)},
	{"headers", false, texts("Request headers that hold it.", token)},
	{"detect", false, &shape{form: list, oneToo: true, min: 1, doc: "Value detectors that find it.", elem: &shape{form: text, enum: detectorNames}}},
}}

var purposeShape = &shape{form: object, fields: []field{
	{"title", true, titleShape},
	{"clause", false, clauseShape},
	{"basis", true, &shape{form: text, doc: "What makes the purpose lawful. necessary: the accepted policy, unless the subject said no; consent, explicit: a grant of this purpose; separate: a grant of this purpose that names the recipient.", enum: basisNames}},
	{"since", false, &shape{form: text, doc: "The version in which the purpose took its present form: acceptance and grants made under an older one do not count. Default: the oldest version.", grammar: date}},
	{"sensitive_ok", false, &shape{form: text, doc: "Why a necessary purpose may use sensitive categories: one reason for all of them, or a mapping from categories to reasons.",
		or: &shape{form: mapping, names: covering, elem: &shape{form: text}}}},
	{"uses", true, texts("The categories that the purpose needs. X.* covers X and everything below.", covering)},
}}

var exemptionShape = &shape{form: object, fields: []field{
	{"title", false, titleShape},
	{"clause", false, clauseShape},
	{"scope", true, &shape{form: list, min: 1, doc: "collect: on routes to the first party. share: on routes to anyone else.", elem: &shape{form: text, enum: []string{"collect", "share"}}}},
	{"uses", true, texts("The categories that pass without consent on a route that names the exemption.", covering)},
}}

var releaseShape = &shape{form: object, fields: []field{
	{"category", true, &shape{form: text, doc: "The categories that the entry speaks of. For each category the entries with the longest pattern decide, the first that fits among them.", grammar: covering}},
	{"purpose", false, &shape{form: text, doc: "The entry fits if this purpose is permitted. Default: if any permitted purpose of the route uses the category.", grammar: dotted}},
	{"as", true, asShape},
	{"else", false, elseShape},
	{"clause", false, clauseShape},
}}

var recipientShape = &shape{form: object, fields: []field{
	{"kind", true, &shape{form: text, doc: "first_party: the controller's own. processor: an SDK vendor. third_party: serves the subject in its own name. ad_partner: gets only what its release lists. public: everyone.", enum: kindNames}},
	{"title", true, titleShape},
	{"clause", false, clauseShape},
	{"vendor", false, &shape{form: text, doc: "The company, as its name is registered."}},
	{"country", false, &shape{form: text, doc: "Where the data goes. Outside policy.home it needs cross_border granted. Default: at home.", grammar: country}},
	{"per", false, &shape{form: text, doc: "A placeholder whose value tells apart the parties behind this recipient; a separate grant then names RECIPIENT:VALUE.", grammar: held}},
	{"since", false, &shape{form: text, doc: "The version that brought the recipient: acceptance and grants made under an older one do not count for it. Default: the oldest version.", grammar: date}},
	{"purposes", true, texts("The purposes that the recipient may serve.", dotted)},
	{"release", false, &shape{form: list, min: 1, doc: "What happens to categories where passing or dropping is not enough.", elem: releaseShape}},
	{"detect", false, &shape{form: text, doc: "What value detectors do: apply (default) the category's action, report only, or off.", enum: []string{"apply", "report", "off"}}},
	{"unknown", false, &shape{form: text, doc: "What happens to scalars that no category matches. Default: pass to first_party, drop to all others.", enum: []string{"pass", "drop"}}},
	{"keep", false, texts("Paths that unknown: drop spares.", nil)},
	{"headers", false, texts("The only request headers that the recipient gets.", token)},
	{"pseudonyms", false, pseudonymsShape},
	{"k_anonymity", false, kAnonymityShape},
	{"set", false, &shape{form: list, min: 1, doc: "Members that the gateway writes itself into each record, so that what the record says is what was decided. JSON only.", elem: setShape}},
}}

var pseudonymsShape = &shape{form: object, doc: "When the keys of the recipient's pseudonyms change. Default: never.", fields: []field{
	{"epoch", true, &shape{form: text, doc: "How long a pseudonym stays the same: 1d to 400d, counted from 1970-01-01 UTC.", grammar: span}},
	{"overlap", false, &shape{form: text, doc: "For how long after the end of an epoch subjects still change over, each at a moment of its own: at most half an epoch. Default: a tenth of one.", grammar: span}},
}}

var kAnonymityShape = &shape{form: object, doc: "What leaves for an ad partner only once enough subjects have shown the same.", fields: []field{
	{"k", true, &shape{form: integer, doc: "How many distinct subjects must have shown a combination of values.", min: 2, max: 1000}},
	{"window", true, &shape{form: text, doc: "Within how long: 1m to 90d.", grammar: span}},
	{"of", true, texts("The categories whose released values together make the combination: one to five.", dotted)},
	{"generalise", false, &shape{form: mapping, doc: "For a category, what is tried in turn where too few have shown its value: transforms of the value as it came, each coarser than the one before. Dropping it is the last, and implied.", names: dotted,
		elem: &shape{form: list, min: 1, elem: &shape{form: action}}}},
}}

var setShape = &shape{form: object, fields: []field{
	{"path", true, &shape{form: text, doc: "The member, as a path anchored at the record, without wildcards. Its last step is written as it stands here; members that fold to the same name go."}},
	{"value", true, &shape{form: scalar, doc: "What it says: a text, a number, true or false."}},
	{"unless", false, &shape{form: text, doc: "Only where this purpose of the recipient may not run. Default: always.", grammar: dotted}},
	{"when", false, &shape{form: text, doc: "minor: only where the subject is a minor now, as far as is known.", enum: []string{"minor"}}},
	{"create", false, &shape{form: boolean, doc: "Whether the object around the member is made where the record has none. Default: false."}},
	{"clause", false, clauseShape},
}}

var includeShape = texts("Packs of categories, looked up beside this file, in the folder above it, and among those that ship with the program.", nil)

var categoriesShape = &shape{form: mapping, doc: "Kinds of personal data.", names: dotted, elem: categoryShape}

// packShape is what an included file may hold: to say what data looks like is
// no decision, so it can be shared; everything else belongs in one file that a
// lawyer can read from top to bottom.
var packShape = &shape{form: object, fields: []field{
	{"include", false, includeShape},
	{"categories", true, categoriesShape},
}}

var policyShape = &shape{form: object, fields: []field{
	{"policy", true, &shape{form: object, fields: []field{
		{"id", true, &shape{form: text, doc: "The policy's name in headers, logs and receipts.", grammar: &grammar{regexp.MustCompile(`^[a-z][a-z0-9_-]*$`), "lower-case letters, digits, '-' and '_', such as liaoxiaobang"}}},
		{"title", false, titleShape},
		{"versions", true, texts("Every version that a subject may have accepted, oldest first; the last is in force.", date)},
		{"controller", true, &shape{form: text, doc: "Who decides on the processing."}},
		{"contact", false, &shape{form: text, doc: "Where people turn to."}},
		{"home", true, texts("The countries where personal data stays unless cross_border is granted.", country)},
		{"minor", false, &shape{form: object, fields: []field{
			{"under", true, &shape{form: integer, doc: "The age below which a guardian must consent.", min: 1, max: 30}},
		}}},
	}}},
	{"include", false, includeShape},
	{"categories", false, categoriesShape},
	{"purposes", true, &shape{form: mapping, doc: "Why data is processed.", names: dotted, elem: purposeShape}},
	{"exemptions", false, &shape{form: mapping, doc: "When the law asks for no consent. One holds only on a route that names it, and never lifts cross_border.", names: dotted, elem: exemptionShape}},
	{"recipients", true, &shape{form: mapping, doc: "Who gets data.", names: plain, elem: recipientShape}},
	{"clauses", false, &shape{form: mapping, doc: "Clauses that no rule can express, and the test that shows that each is kept.", names: clauseRef,
		elem: &shape{form: list, oneToo: true, min: 1, elem: &shape{form: text, grammar: &grammar{regexp.MustCompile(`^(Test|Fuzz|Example)\w*(/.+)?$`), "the name of a test, such as TestLeakCanary"}}}}},
}}
