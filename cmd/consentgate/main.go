// Command consentgate is Caddy with the consent modules linked in.
package main

import (
	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/consentgate/consentgate/caddymodule"
)

func main() {
	caddy.CustomBinaryName = "consentgate"
	caddycmd.Main()
}
