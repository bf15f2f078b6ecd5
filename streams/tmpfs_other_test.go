//go:build !linux

package streams

import "testing"

func inTmpfs(t *testing.T, _ string) { t.Skip("needs Linux") }
