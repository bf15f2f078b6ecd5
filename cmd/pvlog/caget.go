package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
)

type caGetCmd struct {
	caLink
	caFormat
	Wide  bool     `short:"a" xor:"form" help:"Name, time stamp, value, alarm status and severity."`
	Terse bool     `short:"t" xor:"form" help:"Only the value."`
	Type  string   `short:"d" xor:"form" placeholder:"TYPE" help:"As a DBR type, by name (DBR_CTRL_DOUBLE, TIME_LONG) or number, with all it tells."`
	Ctrl  bool     `xor:"form" help:"With units, precision, limits or labels: the CTRL type of the PV's own."`
	Now   bool     `short:"c" name:"current-length" help:"Arrays have their current length; else zeros fill them to their capacity. (caget -c asks this way.)"`
	PVs   []string `arg:"" name:"pv" help:"PV names."`
}

// Run reads all PVs at once and prints them in the order asked.
func (c *caGetCmd) Run(ctx context.Context, log *slog.Logger) error {
	wait, err := c.limit()
	if err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	if c.Type != "" {
		if _, err := parseDBR(c.Type); err != nil {
			return exitError{exitUsage, err}
		}
	}
	return c.withCA(ctx, log, wait, func(client *caclient.Client) error {
		pvs := connectPVs(ctx, client, c.PVs, wait)
		if complain(pvs) == len(pvs) {
			return caFailures(len(pvs), len(pvs), "read")
		}
		failed, err := c.print(os.Stdout, readPVs(ctx, pvs, wait, c.request))
		if err != nil {
			return err
		}
		return caFailures(failed, len(pvs), "read")
	})
}

// request is the type that a PV is asked for, and how many elements.
func (c *caGetCmd) request(info caclient.Info) (t ca.DBR, count uint32, err error) {
	count = info.Count
	switch {
	case c.Count > 0:
		count = min(c.Count, info.Count)
	case c.Now:
		count = 0
	}
	switch {
	case c.Ctrl:
		return info.Native.Ctrl(), count, nil
	case c.Type != "":
		t, err = parseDBR(c.Type)
		return t, count, err
	}
	return c.timeType(info.Native), count, nil
}

// timeType is the TIME type with which values print themselves: the IOC knows
// labels and precision.
func (f caFormat) timeType(native ca.DBR) ca.DBR {
	float := native == ca.DBRFloat || native == ca.DBRDouble
	switch {
	case native == ca.DBREnum && f.EnumNumber:
		return ca.DBRTimeShort
	case native == ca.DBREnum || float && f.AsString:
		return ca.DBRTimeString
	}
	return native.Time()
}

// parseDBR reads a DBR type: its name, DBR_ and case do not matter, or number.
func parseDBR(text string) (ca.DBR, error) {
	name := strings.TrimPrefix(strings.ToUpper(text), "DBR_")
	if short, ok := strings.CutSuffix(name, "INT"); ok {
		name = short + "SHORT"
	}
	for d := ca.DBRString; d.Valid(); d++ {
		if d != ca.DBRPutAckT && d != ca.DBRPutAckS && (d.String() == "DBR_"+name || strconv.Itoa(int(d)) == text) {
			return d, nil
		}
	}
	return 0, fmt.Errorf("-d %q: no DBR type that can be read has this name or number (DBR_STRING 0 to DBR_CTRL_DOUBLE 34, DBR_STSACK_STRING 37, DBR_CLASS_NAME 38)", text)
}

// caAnswer is what became of a get.
type caAnswer struct {
	name   string
	info   caclient.Info
	update caclient.Update
	err    error
}

// readPVs asks for a value of every PV that is connected, all at once.
func readPVs(ctx context.Context, pvs []*caPV, wait time.Duration, request func(caclient.Info) (ca.DBR, uint32, error)) []caAnswer {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	answers := make([]caAnswer, len(pvs))
	coming := make([]chan caAnswer, len(pvs))
	for i, p := range pvs {
		coming[i] = make(chan caAnswer, 1)
		a := caAnswer{name: p.name}
		info, ok := p.channel.Info()
		if !ok {
			a.err = errNotFound
			coming[i] <- a
			continue
		}
		a.info = info
		t, count, err := request(info)
		if err != nil {
			a.err = err
			coming[i] <- a
			continue
		}
		p.channel.GetAsync(t, count, func(u caclient.Update, err error) {
			u.Payload = bytes.Clone(u.Payload)
			a.update, a.err = u, err
			coming[i] <- a
		})
	}
	for i := range answers {
		select {
		case answers[i] = <-coming[i]:
		case <-ctx.Done():
			answers[i] = caAnswer{name: pvs[i].name, err: ca.ErrGetTimeout}
			select { // the other PVs may have been answered in time
			case answers[i] = <-coming[i]:
			default:
			}
		}
	}
	return answers
}

// reading is the value of an answer.
func (a caAnswer) reading() caReading {
	return caReading{
		name: a.name, data: a.update.Type, count: a.update.Count, payload: a.update.Payload,
		precision: -1,
	}
}

// print writes all answers and gives the number of those without a value.
func (c *caGetCmd) print(w io.Writer, answers []caAnswer) (failed int, err error) {
	for _, a := range answers {
		if a.err != nil {
			failed++
		}
		if _, err := io.WriteString(w, c.line(a)); err != nil {
			return failed, fmt.Errorf("print: %w", err)
		}
	}
	return failed, nil
}

// line is what is printed for one PV.
func (c *caGetCmd) line(a caAnswer) string {
	r := a.reading()
	switch {
	case c.Ctrl || c.Type != "":
		if a.err != nil {
			return a.name + "\n    " + plainTrouble(a.err) + "\n"
		}
		return c.details(a)
	case c.Wide:
		if a.err != nil {
			return c.label(a.name, 0) + c.stampedTrouble(a.err, time.Now()) + "\n"
		}
		return c.wide(r, c.stamp(r.time())) + "\n"
	}
	text := ""
	if a.err != nil {
		text = plainTrouble(a.err)
	} else {
		text = c.value(r)
	}
	if c.Terse {
		return text + "\n"
	}
	return c.label(a.name, r.count) + text + "\n"
}
