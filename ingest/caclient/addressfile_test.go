package caclient

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func someAddresses(n int) map[string]netip.AddrPort {
	found := map[string]netip.AddrPort{}
	for i := range n {
		found[fmt.Sprintf("SR:%d:I{with} blanks", i)] = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 5064)
	}
	return found
}

func TestAddressFileIsReadAsItWasWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ca-addresses")
	if found, err := readAddresses(path); err != nil || found != nil {
		t.Errorf("without a file: %v, %v", found, err)
	}
	for _, n := range []int{0, 1, 1000} {
		want := someAddresses(n)
		if err := writeAddresses(path, want); err != nil {
			t.Fatal(err)
		}
		if got, err := readAddresses(path); err != nil || !maps.Equal(got, want) {
			t.Errorf("%d addresses: got %d, %v", n, len(got), err)
		}
	}
	if left, _ := filepath.Glob(path + ".*"); left != nil {
		t.Errorf("%v was left", left)
	}
	odd := map[string]netip.AddrPort{"A\nend 0 00000000": netip.MustParseAddrPort("10.0.0.1:1"), "B": {}}
	if got, err := decodeAddresses(string(encodeAddresses(odd))); err != nil || len(got) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestAddressFileIsTakenWholeOrNotAtAll(t *testing.T) {
	good := string(encodeAddresses(someAddresses(20)))
	for n := range len(good) {
		if got, err := decodeAddresses(good[:n]); err == nil || got != nil {
			t.Fatalf("cut at byte %d of %d, %d addresses were taken", n, len(good), len(got))
		}
	}
	for i := range len(good) {
		bad := []byte(good)
		bad[i] ^= 1
		if got, err := decodeAddresses(string(bad)); err == nil {
			t.Fatalf("with byte %d damaged, %d addresses were taken", i, len(got))
		}
	}
	for name, text := range map[string]string{
		"tail":    good + "x",
		"twice":   good + good,
		"binary":  strings.Repeat("\x00\xff", 1000),
		"version": strings.Replace(good, "1", "2", 1),
		"long":    addressVersion + strings.Repeat("x", 1<<20),
	} {
		if got, err := decodeAddresses(text); err == nil {
			t.Errorf("%s: %d addresses were taken", name, len(got))
		}
	}
	folder := t.TempDir()
	if _, err := readAddresses(folder); err == nil {
		t.Error("a folder was read")
	}
	if err := writeAddresses(filepath.Join(folder, "no", "file"), nil); err == nil {
		t.Error("a file was written into no folder")
	}
}

func FuzzDecodeAddresses(f *testing.F) {
	f.Add(string(encodeAddresses(someAddresses(3))))
	f.Add(addressVersion + "10.0.0.1:5064 A\nend 1 00000000\n")
	f.Fuzz(func(t *testing.T, text string) {
		found, err := decodeAddresses(text)
		if err != nil {
			return
		}
		again, err := decodeAddresses(string(encodeAddresses(found)))
		if err != nil || !maps.Equal(again, found) {
			t.Fatalf("%v became %v, %v", found, again, err)
		}
	})
}

// TestAddressFileSurvivesAFailedWrite: what was remembered before stays.
func TestAddressFileSurvivesAFailedWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ca-addresses")
	if err := writeAddresses(path, someAddresses(3)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path+".new", 0o755); err != nil { // in the way
		t.Fatal(err)
	}
	if err := writeAddresses(path, someAddresses(5)); err == nil {
		t.Error("it was written")
	}
	if got, err := readAddresses(path); err != nil || len(got) != 3 {
		t.Errorf("got %d, %v", len(got), err)
	}
}
