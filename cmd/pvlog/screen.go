package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"pvlog/cmd/pvlog/appliance"
)

// screen shows a running appliance: redrawn in place on a terminal, plain
// lines elsewhere.
type screen struct {
	out   *os.File
	full  bool // a terminal
	notes []string
	hint  bool // what to try was printed
}

func newScreen(out *os.File) *screen { return &screen{out: out, full: terminal(out)} }

// note says something that stays on the screen.
func (s *screen) note(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	s.notes = append(s.notes, line)
	fmt.Fprintln(s.out, line)
}

// draw shows the present state.
func (s *screen) draw(ctx context.Context, a *appliance.Appliance, ioc string) {
	overview, err := a.Overview(ctx)
	if err != nil {
		fmt.Fprintln(s.out, err)
		return
	}
	if !s.full {
		s.drawPlain(a, overview, ioc)
		return
	}
	width, height, err := term.GetSize(int(s.out.Fd()))
	if err != nil {
		width, height = 100, 40
	}
	lines := append(header(overview, ioc), hints(a)...)
	lines = append(lines, s.notes...)
	lines = append(lines, "", row("PV", "value", "alarm", "stored", "dropped", "partition", "bytes"))
	for _, p := range overview.PVs {
		if len(lines) >= height-1 {
			break
		}
		lines = append(lines, pvRow(p))
	}
	for i, l := range lines {
		if r := []rune(l); len(r) > width {
			lines[i] = string(r[:width])
		}
	}
	// Home, then each line with the rest of the old one erased, then all below.
	fmt.Fprint(s.out, "\x1b[H", strings.Join(lines, "\x1b[K\n"), "\x1b[K\n\x1b[J")
}

// drawPlain prints one line a second, and once what to try.
func (s *screen) drawPlain(a *appliance.Appliance, o appliance.Overview, ioc string) {
	if !s.hint {
		s.hint = true
		for _, l := range hints(a) {
			fmt.Fprintln(s.out, l)
		}
	}
	fmt.Fprintln(s.out, strings.Join(header(o, ioc), " | "))
	for _, p := range o.PVs[:min(3, len(o.PVs))] {
		fmt.Fprintln(s.out, "  "+pvRow(p))
	}
}

func header(o appliance.Overview, ioc string) []string {
	return []string{
		fmt.Sprintf("IOC %s: %d of %d PVs connected", ioc, o.Connected, len(o.PVs)),
		fmt.Sprintf("log: sequence %d, %d messages, %s; archive lag %d, waiting %d samples", o.LastSequence, o.Messages, size(o.LogBytes), o.Lag, o.Waiting),
		fmt.Sprintf("files: %d samples stored, %d dropped with a reason", o.Stored, o.Dropped),
	}
}

func hints(a *appliance.Appliance) []string {
	at := a.Addresses()
	lines := []string{
		"",
		"try, in another terminal:",
		"  curl 'http://" + at.HTTP + "/retrieval/data/getData.json?pv=demo:sine'",
		"  bin/pvlog get --server " + at.HTTP + " --from -1m demo:sine",
		"  bin/pvlog status --server " + at.HTTP + " 'demo:*'",
		"  bin/pvlog drops --server " + at.HTTP,
	}
	if at.NATS != "" {
		lines = append(lines, "  nats -s "+at.NATS+" stream ls;  nats -s "+at.NATS+" sub 'samples.>' --translate 'bin/pvlog decode {{Subject}}'")
	}
	return lines
}

func row(cells ...any) string {
	return strings.TrimRight(fmt.Sprintf("%-22.22s %-26.26s %-14.14s %9v %8v  %-30.30s %9v", cells...), " ")
}

func pvRow(p appliance.PV) string {
	file := ""
	if p.Path != "" {
		file = filepath.Base(p.Path)
	}
	return row(string(p.Name), p.Value, p.Alarm, p.Stored, p.Dropped, file, size(p.Bytes))
}

func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

// freeAddress gives the address, or one with a free port if it is taken.
func freeAddress(address, network string, note func(string, ...any)) string {
	if taken(address, network) == nil {
		return address
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address // the server will say what is wrong with it
	}
	note("%s is in use: another port is taken", address)
	return net.JoinHostPort(host, "0")
}

// taken tries to listen.
func taken(address, network string) error {
	if network == "udp" {
		c, err := net.ListenPacket("udp4", address)
		if err != nil {
			return err
		}
		if err := c.Close(); err != nil {
			return err
		}
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return l.Close()
}
