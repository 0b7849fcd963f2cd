// Package payload finds personal data in JSON (and in queries, forms, cookies
// and headers) and rewrites it.
//
// A [Matcher] is compiled once from what the policy says of keys and paths. Its
// Scan validates a document and notes what stands where, in one pass that knows
// nothing of consent. A [Vector], one action per class of categories, then
// turns the scan into bytes, once for each recipient: what no action touches
// is copied as it came.
//
// The package must never know of purposes, recipients, stores or HTTP.
package payload
