//go:build !linux

package registry

import "testing"

func inTmpfs(t *testing.T, _ string) { t.Skip("needs Linux") }
