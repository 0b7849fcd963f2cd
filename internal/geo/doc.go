// Package geo says in which country, province and city an address is, from a
// GeoIP database in a file of MaxMind's format (MaxMind DB 2.0), and refuses to
// dial where personal data may not go.
//
// The package must never know whose address it is or what is done with the
// answer. It keeps nothing of an address and says none in an error.
package geo
