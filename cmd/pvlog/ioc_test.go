package main

import (
	"context"
	"log/slog"
	"strings"
	"testing"
)

func TestIocRefusesWhatItCannotServe(t *testing.T) {
	for want, c := range map[string]iocCmd{
		"--records -1": {Listen: "127.0.0.1:0", Records: -1, Rate: 1},
		"--records 10": {Listen: "127.0.0.1:0", Records: 1_000_000, Rate: 1},
		"--rate 0":     {Listen: "127.0.0.1:0", Rate: 0},
		"--rate 1001":  {Listen: "127.0.0.1:0", Rate: 1001},
		`"a.bsine"`:    {Listen: "127.0.0.1:0", Prefix: "a.b", Rate: 1, List: true},
		`"nowhere"`:    {Listen: "nowhere", Rate: 1},
	} {
		if err := c.Run(context.Background(), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want an error with %q", c, err, want)
		}
	}
}

func TestIocEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c := iocCmd{Listen: "127.0.0.1:0", Prefix: "x:", Records: 10, Rate: 100}
	if err := c.Run(ctx, slog.New(slog.DiscardHandler)); err != nil {
		t.Error(err)
	}
}
