// Package risk measures how well people are hidden in what a recipient got: the
// re-identification risk report of clause 5 of the example policy.
//
// [Read] turns a stream of JSON records into a [Sample]: hashes of values in
// columns, one for each path. [Measure] counts equivalence classes in it
// (k-anonymity), what single fields and small sets of them give away, and how
// alike the sensitive values of a class are (l-diversity, t-closeness);
// [LinkSamples] counts what two recipients could join. A [Report] holds the
// figures and the verdict, and writes itself as text, JSON and HTML.
//
// The package must never know of policies, consent, Caddy or HTTP: what a field
// is comes in through [Options]. And no value of a record may come out of it:
// values are hashed while they are read, and names of members that look like
// values, or that too few people have, are printed as '*'.
package risk
