package rules

import "embed"

// Embedded holds the policies and packs that ship with the program and the
// JSON Schema of the language: "policies/…", "packs/…", "schema.json".
//
//go:embed policies packs schema.json
var Embedded embed.FS
