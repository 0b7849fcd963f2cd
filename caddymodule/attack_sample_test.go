//go:build !race

package caddymodule

// attackCases is how many attacks are sent where nobody asks for more. They
// take some ten seconds on two cores.
const attackCases = 10000
