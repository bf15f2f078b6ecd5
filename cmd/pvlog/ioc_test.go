package main

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"pvlog/ingest/simioc"
)

func TestIocRefusesWhatItCannotServe(t *testing.T) {
	for want, c := range map[string]iocCmd{
		"--records -1": {Listen: "127.0.0.1:0", Records: -1, Rate: 1, IOCs: 1},
		"--records 10": {Listen: "127.0.0.1:0", Records: 1_000_000, Rate: 1, IOCs: 1},
		"--rate 0":     {Listen: "127.0.0.1:0", Rate: 0, IOCs: 1},
		"--rate 1001":  {Listen: "127.0.0.1:0", Rate: 1001, IOCs: 1},
		`"a.bsine"`:    {Listen: "127.0.0.1:0", Prefix: "a.b", Rate: 1, IOCs: 1, List: true},
		`"nowhere"`:    {Listen: "nowhere", Rate: 1, IOCs: 1},
		"--iocs 0":     {Listen: "127.0.0.1:0", Rate: 1},
		"--iocs 5001":  {Listen: "127.0.0.1:0", Rate: 1, IOCs: 5001},
		"127.0.0.0/8":  {Listen: "192.0.2.1:5064", Rate: 1, IOCs: 2},
		"no 3":         {Listen: "127.255.255.253:5064", Rate: 1, IOCs: 3},
	} {
		if err := c.Run(context.Background(), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want an error with %q", c, err, want)
		}
	}
}

func TestIocEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c := iocCmd{Listen: "127.0.0.1:0", Prefix: "x:", Records: 10, Rate: 100, IOCs: 1}
	if err := c.Run(ctx, slog.New(slog.DiscardHandler)); err != nil {
		t.Error(err)
	}
}

func TestFleetSharesTheLoadEvenly(t *testing.T) {
	for listen, addrList := range map[string]int{"127.0.0.1:0": 7, "127.3.0.254:0": 7, "0.0.0.0:0": 1} {
		f, err := newFleet(7, listen, "x:", simioc.Demo(), simioc.Load(100, 1), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		total := -len(simioc.Demo())
		for i, ioc := range f.iocs {
			n := len(ioc.Names())
			total += n
			if i > 0 && (n < 14 || n > 15) {
				t.Errorf("IOC %d has %d records", i, n)
			}
		}
		if total != 100 {
			t.Errorf("the IOCs have %d load records", total)
		}
		if err := f.listen(); err != nil {
			t.Fatal(err)
		}
		if got := f.addrList(); len(got) != addrList {
			t.Errorf("%s: the address list is %q", listen, got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := f.run(ctx); err != nil {
			t.Error(err)
		}
	}
}
