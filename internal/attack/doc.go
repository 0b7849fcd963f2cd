// Package attack makes requests that try to carry personal data past a gate,
// and says of what arrived whether they did.
//
// A Case is a whole request with canaries in it: values that no other case
// holds, planted where a category's key, a header or the value's own shape says
// whose they are. Cases are counted: a seed and an index always give the same
// one. Audit opens what arrived at the far end in every way that a receiver
// might, and looks for the canaries; Missing says which of the rest did not
// come through.
//
// The package must never know of the gate that it attacks: it imports none of
// its packages, and has readers of its own for all that it writes. What it says
// of categories it says as a client would know them, by the names in use.
package attack
