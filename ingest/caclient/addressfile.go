package caclient

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strings"

	"pvlog/ingest/ca"
)

// The address file is text: a line that names its version, a line with address
// and name for each PV, and a line with their number and the CRC-32 of all
// before it, without which the file is not whole.
const (
	addressVersion   = "pvlog ca addresses 1\n"
	maxAddresses     = 1_000_000
	maxAddressesSize = 256 << 20
)

var errAddressFile = errors.New("not a whole address file")

// encodeAddresses makes the file's content. Names that no line can hold are
// left out.
func encodeAddresses(found map[string]netip.AddrPort) []byte {
	b := append(make([]byte, 0, 100+64*len(found)), addressVersion...)
	n := 0
	for name, addr := range found {
		if n == maxAddresses {
			break
		}
		if strings.ContainsAny(name, "\n\r") || !addr.IsValid() {
			continue
		}
		b = append(addr.AppendTo(b), ' ')
		b = append(append(b, name...), '\n')
		n++
	}
	return fmt.Appendf(b, "end %d %08x\n", n, crc32.ChecksumIEEE(b))
}

// decodeAddresses reads the file's content: all of it or nothing.
func decodeAddresses(text string) (map[string]netip.AddrPort, error) {
	body, ok := strings.CutPrefix(text, addressVersion)
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with %q", errAddressFile, addressVersion)
	}
	found := make(map[string]netip.AddrPort)
	lines := bufio.NewScanner(strings.NewReader(body))
	at := len(addressVersion)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "end ") {
			end := fmt.Sprintf("end %d %08x\n", len(found), crc32.ChecksumIEEE([]byte(text[:at])))
			if text[at:] != end {
				return nil, fmt.Errorf("%w: its end does not fit what stands before", errAddressFile)
			}
			return found, nil
		}
		address, name, _ := strings.Cut(line, " ")
		addr, err := netip.ParseAddrPort(address)
		if err != nil || !addr.Addr().Is4() || addr.Port() == 0 || addr.Addr().IsMulticast() ||
			name == "" || len(name) > ca.MaxSearchName || len(found) == maxAddresses {
			return nil, fmt.Errorf("%w: a line of it is no address and name, at byte %d", errAddressFile, at)
		}
		found[name] = addr
		at += len(line) + 1
	}
	return nil, fmt.Errorf("%w: its end is missing", errAddressFile)
}

// readAddresses reads the file; one that is not there is empty.
func readAddresses(path string) (map[string]netip.AddrPort, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxAddressesSize))
	if err != nil {
		return nil, err
	}
	return decodeAddresses(string(text))
}

// writeAddresses replaces the file by renaming: nobody reads half of it. It is
// not synced, for what a power cut leaves is recognised and only a hint.
func writeAddresses(path string, found map[string]netip.AddrPort) error {
	temporary := path + ".new"
	if err := os.WriteFile(temporary, encodeAddresses(found), 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
