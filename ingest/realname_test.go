package ingest

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/ingest/simioc"
	"pvlog/schema"
	"pvlog/schema/logpb"
)

func aliased() []simioc.Record {
	return []simioc.Record{
		{Name: "T:REAL", Aliases: []string{"T:ALIAS"}, Type: ca.DBRDouble, Value: 1.0, Units: "mm", Limits: simioc.Limits{HIHI: 9, Alarm: true}, Desc: "the real one", MDEL: 0.25, ADEL: 1e-5},
		{Name: "T:TEXT", Type: ca.DBRString, Value: "text"},
	}
}

// joinAliases answers a discovery of an alias with the events that
// the registry makes of it.
func (r *registry) joinAliases(found []Discovery) (rest []Discovery) {
	for _, d := range found {
		if d.RealName == "" {
			rest = append(rest, d)
			continue
		}
		r.add(requestEvent(string(d.RealName)), &logpb.RegistryEvent{Pv: string(d.PV),
			What: &logpb.RegistryEvent_AliasAdded{AliasAdded: &logpb.AliasAdded{Pv: string(d.RealName)}}})
	}
	return rest
}

// TestAnAliasIsFoundBeforeItsFirstSubscription: nothing is archived under the
// name that was asked for.
func TestAnAliasIsFoundBeforeItsFirstSubscription(t *testing.T) {
	for asked, want := range map[string]schema.PVName{"T:ALIAS": "T:REAL", "T:ALIAS.HIHI": "T:REAL.HIHI"} {
		t.Run(asked, func(t *testing.T) {
			r := newRig(t, aliased())
			r.registry.add(requestEvent(asked))
			r.sampled(t, want, 1)
			for _, s := range r.log.all() {
				if s.pv != want {
					t.Errorf("a sample of %s", s.pv)
				}
			}
			found := r.registry.discoveries()[0]
			if len(found) != 1 || found[0].PV != schema.PVName(asked) || found[0].RealName != want {
				t.Errorf("found %+v", found)
			}
			if _, ok := r.engine.State(schema.PVName(asked)); ok {
				t.Error("the alias has a channel of its own")
			}
		})
	}
}

func TestTheAliasCheckCanBeSkipped(t *testing.T) {
	r := newRig(t, aliased())
	e := requestEvent("T:ALIAS")
	e.GetRequested().SkipAliasCheck = true
	r.registry.add(e)
	r.sampled(t, "T:ALIAS", 1)
	if found := r.registry.discoveries()[0]; len(found) != 1 || found[0].RealName != "" || found[0].Fields["DESC"] != "the real one" {
		t.Errorf("found %+v", found)
	}
}

// TestFirstConnectionsTellWhatPoliciesAskFor and no more than the record has;
// numbers are not rounded by its PREC.
func TestFirstConnectionsTellWhatPoliciesAskFor(t *testing.T) {
	r := newRig(t, aliased())
	for _, pv := range []string{"T:REAL", "T:TEXT", "T:REAL.DESC"} {
		r.registry.add(requestEvent(pv))
		r.sampled(t, schema.PVName(pv), 1)
	}
	got := map[schema.PVName]string{}
	for _, call := range r.registry.discoveries() {
		for _, d := range call {
			if d.Host != "" {
				got[d.PV] = fmt.Sprint(d.Fields)
			}
			if d.RealName != "" {
				t.Errorf("%s is called %s", d.PV, d.RealName)
			}
		}
	}
	for pv, want := range map[schema.PVName]string{
		"T:REAL":      "map[ADEL:0.00001 DESC:the real one MDEL:0.25 RTYP:ai SCAN:Passive]",
		"T:TEXT":      "map[RTYP:stringin SCAN:Passive]",
		"T:REAL.DESC": "map[RTYP:ai]",
	} {
		if got[pv] != want {
			t.Errorf("%s told %s, want %s", pv, got[pv], want)
		}
	}
}

func TestNamesThatNameNoRecord(t *testing.T) {
	answer := func(text string) caclient.Update {
		return caclient.Update{Type: ca.DBRChar, Count: uint32(len(text)), Payload: []byte(text)}
	}
	for _, tt := range []struct {
		pv   schema.PVName
		text string
		cut  bool
		want string // "": no record
	}{
		{"A", "B\x00xx", false, "B"}, {"A", "A", false, "A"}, {"A.HIHI", "B", false, "B.HIHI"},
		{"A.{\"dbnd\":{\"d\":1}}", "B", false, "B.{\"dbnd\":{\"d\":1}}"}, {"A", strings.Repeat("n", 60), false, strings.Repeat("n", 60)},
		{"A", strings.Repeat("n", 38), true, strings.Repeat("n", 38)}, {"A", strings.Repeat("n", 39), true, ""},
		{"A", "", false, ""}, {"A", "\x00B", false, ""}, {"A", "B.HIHI", false, ""}, {"A", "ca://B", false, ""}, {"A", " B", false, ""},
		{"A", "B.VAL", false, ""}, {"A", "../B", false, ""}, {"A", "B C", false, ""}, {"A", "\xff\xfe", false, ""}, {"A", "0.00", false, ""},
	} {
		real, ok := nameOf(answer(tt.text), tt.pv, tt.cut)
		if string(real) != tt.want && ok || ok != (tt.want != "") {
			t.Errorf("%s is called %q: got %q, %v", tt.pv, tt.text, real, ok)
		}
	}
	if _, ok := nameOf(caclient.Update{Type: ca.DBRDouble, Count: 1, Payload: []byte("12345678")}, "A", false); ok {
		t.Error("a number names a record")
	}
}

// TestANameIsBelievedIfTheSameServerHasIt: a gateway that renames passes on
// what the IOC calls its record, and nobody here can reach that.
func TestANameIsBelievedIfTheSameServerHasIt(t *testing.T) {
	ioc := simioc.New(simioc.Options{Listen: "127.0.0.1:0", Records: aliased()})
	if err := ioc.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run(t, ioc.Run))
	for answered, want := range map[string]schema.PVName{"T:REAL": "T:REAL", "T:NONE": "", "T:TEXT": "", "T R AL": ""} {
		t.Run(answered, func(t *testing.T) {
			client := caclientAt(t, renaming(t, ioc.TCPAddr(), "T:REAL\x00", answered+"\x00"), "T:ALIAS")
			got := make(chan schema.PVName, 1)
			ch := client.Open("T:ALIAS", connector(func(ch *caclient.Channel, info caclient.Info) {
				realName(ch, "T:ALIAS", info, func(real schema.PVName, err error) {
					if err != nil {
						t.Error(err)
					}
					got <- real
				})
			}))
			if real := <-got; real != want {
				t.Errorf("the real name is %q, want %q", real, want)
			}
			ch.Close()
		})
	}
}

// renaming passes circuits on to a server and changes its answers.
func renaming(t *testing.T, server, from, to string) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp4", server)
			if err != nil {
				down.Close()
				return
			}
			wg.Go(func() { _, _ = io.Copy(up, down); up.Close() })
			wg.Go(func() {
				defer down.Close()
				b := make([]byte, 64<<10)
				for {
					n, err := up.Read(b)
					if err != nil {
						return
					}
					if _, err := down.Write(bytes.ReplaceAll(b[:n], []byte(from), []byte(to))); err != nil {
						return
					}
				}
			})
		}
	})
	return l.Addr().String()
}

// caclientAt is a client that asks one server for a name, without a search.
func caclientAt(t *testing.T, address, name string) *caclient.Client {
	t.Helper()
	file := filepath.Join(t.TempDir(), "addresses")
	text := fmt.Sprintf("pvlog ca addresses 1\n%s %s\n", address, name)
	text += fmt.Sprintf("end 1 %08x\n", crc32.ChecksumIEEE([]byte(text)))
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	no := false
	client := caclient.New(caclient.Options{AddressFile: file, AutoAddrList: &no, Repeater: &no})
	t.Cleanup(run(t, client.Run))
	return client
}

type connector func(*caclient.Channel, caclient.Info)

func (f connector) Connected(ch *caclient.Channel, info caclient.Info) { f(ch, info) }

func (connector) Disconnected(*caclient.Channel, error) {}

func (connector) Update(*caclient.Channel, caclient.Update) {}
