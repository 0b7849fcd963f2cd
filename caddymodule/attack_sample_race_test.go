//go:build race

package caddymodule

// attackCases is how many attacks are sent where nobody asks for more: the race
// detector makes each take five times as long.
const attackCases = 2000
