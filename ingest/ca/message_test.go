package ca

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// unhex reads the hex column of a dump.
func unhex(t testing.TB, dump string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(dump), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRequestsHaveTheirBytes compares with conversations of real servers.
func TestRequestsHaveTheirBytes(t *testing.T) {
	tests := []struct {
		name string
		got  []byte
		want string
	}{
		{"search datagram", AppendSearch(AppendSearch(AppendDatagramVersion(nil, 1), 1, "SIM:AI1", DontReply), 2, "SIM:MBBI", DontReply), `
			00 00 00 00 00 01 00 0d 00 00 00 01 00 00 00 00
			00 06 00 08 00 05 00 0d 00 00 00 01 00 00 00 01
			53 49 4d 3a 41 49 31 00 00 06 00 10 00 05 00 0d
			00 00 00 02 00 00 00 02 53 49 4d 3a 4d 42 42 49
			00 00 00 00 00 00 00 00`},
		{"search reply", AppendSearchReply(AppendDatagramVersion(nil, 1), 1, 5064, AddressOfSender), `
			00 00 00 00 00 01 00 0d 00 00 00 01 00 00 00 00
			00 06 00 08 13 c8 00 00 ff ff ff ff 00 00 00 01
			00 0d 00 00 00 00 00 00`},
		{"first segment", AppendCreateChan(AppendHostName(AppendClientName(AppendVersion(nil), "archiver"), "host1"), 1, "SIM:AI1"), `
			00 00 00 00 00 00 00 0d 00 00 00 00 00 00 00 00
			00 14 00 10 00 00 00 00 00 00 00 00 00 00 00 00
			61 72 63 68 69 76 65 72 00 00 00 00 00 00 00 00
			00 15 00 08 00 00 00 00 00 00 00 00 00 00 00 00
			68 6f 73 74 31 00 00 00 00 12 00 08 00 00 00 00
			00 00 00 01 00 00 00 0d 53 49 4d 3a 41 49 31 00`},
		{"event add", AppendEventAdd(nil, 0x1b, 0x101, DBRTimeDouble, 0, MaskValue|MaskAlarm), `
			00 01 00 10 00 14 00 00 00 00 00 1b 00 00 01 01
			00 00 00 00 00 00 00 00 00 00 00 00 00 05 00 00`},
		{"read notify", AppendReadNotify(nil, 0x1c, 0x202, DBRCtrlEnum, 1), `
			00 0f 00 00 00 1f 00 01 00 00 00 1c 00 00 02 02`},
		{"event cancel", AppendEventCancel(nil, 0x1b, 0x101, DBRTimeDouble, 0), `
			00 02 00 00 00 14 00 00 00 00 00 1b 00 00 01 01`},
		{"echo", AppendEcho(nil, MinorVersion), `00 17 00 00 00 00 00 00 00 00 00 00 00 00 00 00`},
		{"clear channel", AppendClearChannel(nil, 0x1b, 1), `00 0c 00 00 00 00 00 00 00 00 00 1b 00 00 00 01`},
		{"error", AppendError(nil, 1, StatusBadMonitorID, Header{Command: CmdEventCancel, DataType: 0x14, Count: 1, P1: 0x1b, P2: 0x999}, "SIM:AI1"), `
			00 0b 00 18 00 00 00 00 00 00 00 01 00 00 00 f2
			00 02 00 00 00 14 00 01 00 00 00 1b 00 00 09 99
			53 49 4d 3a 41 49 31 00`},
		{"beacon", AppendBeacon(nil, 5064, 18, 0), `00 0d 00 00 00 0d 13 c8 00 00 00 12 00 00 00 00`},
		{"extended header", AppendHeader(nil, Header{Command: CmdEventAdd, PayloadSize: 80016, DataType: 20, Count: 10000, P1: 1, P2: 0x105}), `
			00 01 ff ff 00 14 00 00 00 00 00 01 00 00 01 05
			00 01 38 90 00 00 27 10`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if want := unhex(t, test.want); !bytes.Equal(test.got, want) {
				t.Errorf("got\n%swant\n%s", hex.Dump(test.got), hex.Dump(want))
			}
		})
	}
}

func TestHeaderTakesTheExtendedFormOnlyWhenItMust(t *testing.T) {
	tests := []struct {
		size, count uint32
		want        int
	}{
		{0, 0, 16}, {65528, 65534, 16}, {65536, 1, 24}, {8, 65535, 24}, {8, 1 << 31, 24},
	}
	for _, test := range tests {
		h := Header{Command: CmdEventAdd, PayloadSize: test.size, DataType: 20, Count: test.count, P1: 7, P2: 9}
		b := AppendHeader(nil, h)
		got, n, err := ParseHeader(b)
		if err != nil || n != test.want || len(b) != n || got != h {
			t.Errorf("%+v: got %+v, %d bytes of %d, %v", h, got, n, len(b), err)
		}
	}
}

// TestParseHeaderTakesSmallExtendedForms: rsrv chooses the form from the
// largest size, so an empty waveform comes with an extended header.
func TestParseHeaderTakesSmallExtendedForms(t *testing.T) {
	b := unhex(t, "00 01 ff ff 00 14 00 00 00 00 00 01 00 00 01 05 00 00 00 10 00 00 00 00")
	h, n, err := ParseHeader(b)
	if err != nil || n != 24 || h.PayloadSize != 16 || h.Count != 0 {
		t.Errorf("got %+v, %d, %v", h, n, err)
	}
	for i := range b {
		if _, n, err := ParseHeader(b[:i]); n != 0 || err != nil {
			t.Errorf("%d bytes: got %d, %v; want to be asked for more", i, n, err)
		}
	}
}

func TestParseMessageRefusesUnalignedPayloads(t *testing.T) {
	b := append(AppendHeader(nil, Header{Command: CmdEventAdd, PayloadSize: 12}), make([]byte, 12)...)
	if _, _, _, err := ParseMessage(b); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v", err)
	}
}

func FuzzParseMessage(f *testing.F) {
	for _, b := range wire(f) {
		f.Add(b)
	}
	f.Add(AppendCreateChan(AppendVersion(nil), 1, "SIM:AI1"))
	f.Add(AppendMessage(nil, Header{Command: CmdEventAdd, Count: 70000}, make([]byte, 24)))
	f.Add([]byte("00\x00\x0000\xff\xff00000000")) // 65535 elements in a standard header come back in an extended one
	f.Fuzz(func(t *testing.T, b []byte) {
		h, payload, n, err := ParseMessage(b)
		if err != nil || n == 0 {
			return
		}
		if n > len(b) || uint32(len(payload)) != h.PayloadSize {
			t.Fatalf("%+v: %d of %d bytes, payload %d", h, n, len(b), len(payload))
		}
		again, payload2, m, err := ParseMessage(AppendMessage(nil, h, payload))
		if err != nil || again != h || !bytes.Equal(payload, payload2) || m > n+8 {
			t.Fatalf("%+v came back as %+v, %d, %v", h, again, m, err)
		}
	})
}
