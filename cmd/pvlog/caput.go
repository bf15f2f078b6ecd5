package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
)

type caPutCmd struct {
	caLink
	Array      bool     `short:"a" help:"Write an array: the number of values, then the values."`
	CharText   bool     `short:"S" name:"char-text" xor:"form" help:"Write text into an array of char."`
	Complete   bool     `short:"c" name:"complete" help:"Wait until the IOC has processed the record and what it drives."`
	Terse      bool     `short:"t" xor:"out" help:"Print only the new value."`
	Long       bool     `short:"l" xor:"out" help:"Print name, time stamp, value, alarm status and severity."`
	EnumNumber bool     `short:"n" name:"enum-number" xor:"enum" help:"Values of enums are numbers."`
	EnumLabel  bool     `short:"s" name:"enum-label" xor:"enum" help:"Values of enums are labels."`
	Separator  string   `short:"F" default:" " placeholder:"C" help:"Field separator of the output, one character."`
	Args       []string `arg:"" name:"pv value" passthrough:"partial" help:"PV name and value, after all flags; further words belong to the value."`
}

// Run writes one PV and prints its old and new value.
func (c *caPutCmd) Run(ctx context.Context, log *slog.Logger) error {
	wait, err := c.limit()
	if err != nil {
		return err
	}
	pv, words, err := c.arguments()
	if err != nil {
		return exitError{exitUsage, err}
	}
	show := c.output()
	if err := show.check(); err != nil {
		return err
	}
	return c.withCA(ctx, log, wait, func(client *caclient.Client) error {
		pvs := connectPVs(ctx, client, []string{pv}, wait)
		info, ok := pvs[0].channel.Info()
		if !ok {
			return caFailures(complain(pvs), 1, "written")
		}
		values, err := c.values(ctx, pvs[0].channel, info, words, wait)
		if err != nil {
			return err
		}
		if !c.Terse {
			if err := c.show(ctx, show, "Old : ", pvs, wait); err != nil {
				return err
			}
		}
		if err := c.write(ctx, pvs[0].channel, values, wait); err != nil {
			return err
		}
		label := "New : "
		if c.Terse {
			label = ""
		}
		return c.show(ctx, show, label, pvs, wait)
	})
}

// write waits for the server's word, which caput does with -c only: the exit
// code tells whether the value was taken.
func (c *caPutCmd) write(ctx context.Context, ch *caclient.Channel, values any, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	err := ch.PutValues(ctx, values, c.Complete)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ca.ErrGetTimeout) {
		return fmt.Errorf("%w: no answer in %v, it may still be written (-w waits longer)", err, wait)
	}
	return err
}

// output prints as `pvlog ca get` does.
func (c *caPutCmd) output() *caGetCmd {
	return &caGetCmd{
		caFormat: caFormat{EnumNumber: c.EnumNumber, CharText: c.CharText, Separator: c.Separator, E: -1, F: -1, G: -1},
		Wide:     c.Long, Terse: c.Terse,
	}
}

func (c *caPutCmd) show(ctx context.Context, get *caGetCmd, label string, pvs []*caPV, wait time.Duration) error {
	a := readPVs(ctx, pvs, wait, get.request)[0]
	if _, err := fmt.Print(label, get.line(a)); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	if a.err != nil {
		return fmt.Errorf("read %s: %w", a.name, a.err)
	}
	return nil
}

// arguments splits the line into the PV and its values. A value may begin
// with '-', so that flags end at the PV.
func (c *caPutCmd) arguments() (pv string, words []string, err error) {
	args := c.Args
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) < 2 {
		return "", nil, errors.New("a PV and a value are expected")
	}
	pv, words = args[0], args[1:]
	if !c.Array {
		return pv, []string{strings.Join(words, " ")}, nil
	}
	if c.CharText {
		return "", nil, errors.New("-a and -S: one of them is possible")
	}
	n, err := strconv.Atoi(words[0])
	if words = words[1:]; err != nil || len(words) == 0 {
		return "", nil, fmt.Errorf("-a: the number of values comes first: %q stands there, and %d values follow", args[1], len(words))
	}
	if n != len(words) { // caput says nothing and writes what there is
		fmt.Fprintf(os.Stderr, "Warning: -a %d: %d values follow, all of them are written.\n", n, len(words))
	}
	return pv, words, nil
}

// values is what is written: strings, which the IOC converts, but for numbers
// of enum states and for text in arrays of char.
func (c *caPutCmd) values(ctx context.Context, ch *caclient.Channel, info caclient.Info, words []string, wait time.Duration) (any, error) {
	for i, w := range words {
		words[i] = unescaped(w)
	}
	if info.Native == ca.DBREnum {
		ctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		u, err := ch.Get(ctx, ca.DBRCtrlEnum, 1)
		if err != nil {
			return nil, err
		}
		meta, err := ca.DecodeCtrl(u.Type, u.Count, u.Payload)
		if err != nil {
			return nil, fmt.Errorf("read labels: %w", err)
		}
		return c.enums(meta.EnumStrings, enumLabels(u.Payload), words)
	}
	if c.CharText {
		return append([]byte(words[0]), 0), nil
	}
	return words, checkStrings(words)
}

// checkStrings refuses what would be cut short on the way.
func checkStrings(words []string) error {
	for _, w := range words {
		if len(w) >= ca.MaxStringSize {
			return fmt.Errorf("%.20q... has %d bytes, a value takes %d (-S writes text into an array of char)", w, len(w), ca.MaxStringSize-1)
		}
	}
	return nil
}

// enums are the numbers of states, by label unless -n, else by number unless
// -s. Numbers are sent, so that a label in UTF-8 finds one in Latin-1, whose
// own bytes are raw.
func (c *caPutCmd) enums(labels, raw, words []string) (any, error) {
	numbers := make([]float64, len(words))
	for i, w := range words {
		if at := max(slices.Index(labels, w), slices.Index(raw, w)); at >= 0 && !c.EnumNumber {
			numbers[i] = float64(at)
			continue
		}
		n, err := parseState(w)
		if err != nil || c.EnumLabel {
			return nil, fmt.Errorf("%q is no state of this enum: %q", w, labels)
		}
		if int(n) >= len(labels) {
			fmt.Fprintf(os.Stderr, "Warning: enum index value '%s' may be too large.\n", w)
		}
		numbers[i] = n
	}
	return numbers, nil
}

// parseState reads a state's number as C's strtod does, 0x7 and 1e1 too, but
// wants all of the text to be one.
func parseState(text string) (float64, error) {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		var hex uint64
		hex, err = strconv.ParseUint(text, 0, 16)
		n = float64(hex)
	}
	if err != nil || !(n >= 0 && n <= math.MaxUint16) {
		return 0, fmt.Errorf("%q is no number from 0 to %d", text, math.MaxUint16)
	}
	return n, nil
}
