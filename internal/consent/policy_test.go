package consent

import (
	"slices"
	"strings"
)

// testPolicy is a policy of three versions with purposes of every kind.
type testPolicy struct{}

func (testPolicy) Versions() []string { return []string{"v1", "v2", "v3"} }

func (testPolicy) HasPurpose(p string) bool {
	return slices.Contains([]string{"operate", "geotag", "sdk.alipay", "sdk.jpush", "third.profile"}, p)
}

func (testPolicy) HasRecipient(r string) bool {
	name, _, per := strings.Cut(r, ":")
	if per {
		return name == "platform"
	}
	return slices.Contains([]string{"backend", "alipay", "jpush", "platform", "overseas"}, name)
}

func (testPolicy) Separate(p string) bool {
	return strings.HasPrefix(p, "sdk.") || strings.HasPrefix(p, "third.")
}
