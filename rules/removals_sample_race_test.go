//go:build race

package rules

// everyRemoval is which of the removals are tried: the race detector makes each
// take ten times as long, and all of them run the same code.
const everyRemoval = 10
