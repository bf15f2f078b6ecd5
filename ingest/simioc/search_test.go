package simioc

import (
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"pvlog/ingest/ca"
)

// ask sends a datagram and gives the ids found in the replies, until want are
// found.
func ask(t *testing.T, ioc *IOC, datagram []byte, want int) map[uint32]ca.Header {
	t.Helper()
	conn, err := net.Dial("udp4", ioc.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(datagram); err != nil {
		t.Fatal(err)
	}
	found := map[uint32]ca.Header{}
	b := make([]byte, 65536)
	for len(found) < want {
		n, err := conn.Read(b)
		if err != nil {
			t.Fatalf("%d of %d names answered: %v", len(found), want, err)
		}
		if n > 1024 {
			t.Errorf("a reply datagram has %d bytes", n)
		}
		for rest := b[:n]; len(rest) > 0; {
			h, payload, size, err := ca.ParseMessage(rest)
			if err != nil || size == 0 {
				t.Fatalf("reply: %v", err)
			}
			rest = rest[size:]
			if h.Command == ca.CmdVersion {
				if h.P1 != 1234 || h.DataType != 1 {
					t.Errorf("the sequence is not mirrored: %+v", h)
				}
				continue
			}
			if h.Command != ca.CmdSearch || len(payload) != 8 || payload[1] != 13 {
				t.Errorf("reply %+v %x", h, payload)
			}
			found[h.P2] = h
		}
	}
	return found
}

func TestSearchFindsEveryNameAndItsFields(t *testing.T) {
	var records []Record
	search := ca.AppendDatagramVersion(nil, 1234)
	for i := range 100 {
		records = append(records, scalar(fmt.Sprintf("pv%d", i), 0))
		search = ca.AppendSearch(search, uint32(i), fmt.Sprintf("x:pv%d%s", i, []string{"", ".VAL", ".RTYP", ".NAME$"}[i%4]), ca.DontReply)
		search = ca.AppendSearch(search, uint32(1000+i), fmt.Sprintf("pv%d", i), ca.DoReply) // without prefix
	}
	ioc := start(t, Options{Prefix: "x:", Records: records})
	found := ask(t, ioc, search, 100)
	_, port, _ := net.SplitHostPort(ioc.TCPAddr())
	for i := range uint32(100) {
		if h := found[i]; strconv.Itoa(int(h.DataType)) != port || h.P1 != ca.AddressOfSender {
			t.Errorf("pv%d: reply %+v, want port %s", i, h, port)
		}
	}
	if len(found) != 100 {
		t.Errorf("%d names were found", len(found))
	}
}

// What gets no answer: old clients, unknown names, what stands behind a
// malformed message. The name asked last, in its own datagram, proves that the
// others were handled.
func TestSearchIsSilentWhereItMustBe(t *testing.T) {
	known := func(b []byte, cid uint32) []byte { return ca.AppendSearch(b, cid, "v", ca.DontReply) }
	bare := known(nil, 1)
	old := known(ca.AppendHeader(nil, ca.Header{Command: ca.CmdVersion, DataType: 1, Count: 3}), 2)
	broken := known(append(ca.AppendDatagramVersion(nil, 9), 0, 6, 0, 12, 0, 5, 0, 13, 0, 0, 0, 1, 0, 0, 0, 1), 3)
	short := known(ca.AppendDatagramVersion(nil, 9), 4)
	unknown := ca.AppendSearch(ca.AppendDatagramVersion(nil, 9), 5, "vv", ca.DontReply)
	ioc := New(Options{Records: []Record{scalar("v", 0)}})
	var buf []byte
	for name, datagram := range map[string][]byte{"no VERSION": bare, "minor 3": old, "unaligned": broken, "cut": short[:len(short)-1], "unknown": unknown, "empty": nil, "garbage": []byte("garbage garbage garbage")} {
		ioc.answerSearch(datagram, &buf, func(b []byte) { t.Errorf("%s: answered with %x", name, b) })
	}
	answers := 0
	ioc.answerSearch(known(ca.AppendDatagramVersion(nil, 9), 4), &buf, func(b []byte) { answers++ })
	if answers != 1 {
		t.Errorf("%d answers to a good search", answers)
	}
}

func FuzzSearch(f *testing.F) {
	f.Add(ca.AppendSearch(ca.AppendDatagramVersion(nil, 9), 4, "v", ca.DontReply))
	f.Add([]byte("garbage garbage garbage garbage"))
	ioc := New(Options{Records: []Record{scalar("v", 0)}})
	var buf []byte
	f.Fuzz(func(t *testing.T, b []byte) {
		ioc.answerSearch(b, &buf, func(reply []byte) {
			if len(reply) > maxDatagram || len(reply)%8 != 0 {
				t.Errorf("a reply of %d bytes", len(reply))
			}
		})
	})
}
