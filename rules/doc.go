// Package rules holds the policy: the rule language, its checks, and the two
// decisions that a policy makes. "May this purpose run?" is [Policy.Permits];
// "what happens to this category?" is [Route.Release]. They are the only place
// where law is decided, and they are pure: no I/O and no clock of their own.
//
// A policy is one YAML file with the packs that it includes. [Load] reads it,
// checks it and compiles it, or returns every [Problem] that it found.
//
// The package must never know of HTTP, Caddy, JSON bodies or stores.
package rules
