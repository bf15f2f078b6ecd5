package policy

import (
	_ "embed"
	"sync"
)

//go:embed default.yaml
var defaultText []byte

// defaults parses the embedded file once; its tests keep the error away.
var defaults = sync.OnceValues(func() (*Policies, error) { return Parse("default.yaml", defaultText) })

// Default gives the policies of a site without a policy file: one policy
// Default, MONITOR each second unless the user asks for something else, with
// archive fields by record type as the Appliance's own file gives them
// (Appliance 3.10).
func Default() (*Policies, error) { return defaults() }
