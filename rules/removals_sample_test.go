//go:build !race

package rules

// everyRemoval is which of the removals are tried.
const everyRemoval = 1
