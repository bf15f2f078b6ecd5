package appliance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// addressFile is where the addresses in use are announced.
func (a *Appliance) addressFile() string { return filepath.Join(a.config.Data, "addresses.json") }

// token is the credential for changing requests from other hosts (D17):
// PVLOG_TOKEN, else the content of DATA/token, else "" for none.
func (c *Config) token() (string, error) {
	if t := os.Getenv("PVLOG_TOKEN"); t != "" {
		return t, nil
	}
	path := filepath.Join(c.Data, "token")
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	t := strings.TrimSpace(string(b))
	if t == "" {
		return "", fmt.Errorf("the token file %s is empty: write a secret into it, or remove it", path)
	}
	return t, nil
}
