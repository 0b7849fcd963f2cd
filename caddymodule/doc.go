// Package caddymodule is all of Consentgate that touches Caddy.
package caddymodule
