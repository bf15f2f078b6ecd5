package main

import (
	"fmt"
	"strings"
	"time"

	"pvlog/schema"
)

// caStamps prints the time stamps that camonitor's -t asks for.
type caStamps struct {
	server, client bool
	since          rune // r, i, I, or 0 for absolute stamps

	start   schema.Time // of the program, by the client's clock
	first   schema.Time // of the server, of all PVs
	begun   bool        // first is set
	last    stampPair
	lastOf  map[string]stampPair
	printed map[string]bool // PVs whose first, absolute stamp is out
}

type stampPair struct{ server, client schema.Time }

// parseStamps reads the letters of -t.
func parseStamps(key string, now time.Time) (caStamps, error) {
	s := caStamps{start: schema.TimeOf(now), lastOf: map[string]stampPair{}, printed: map[string]bool{}}
	for _, c := range key {
		switch c {
		case 's':
			s.server = true
		case 'c':
			s.client = true
		case 'n':
		case 'r', 'i', 'I':
			s.since = c
		default:
			return s, fmt.Errorf("-t %q: %q is none of s, c, n, r, i and I", key, c)
		}
	}
	// A difference alone means the server's.
	if s.since != 0 && !s.client {
		s.server = true
	}
	return s, nil
}

// text is the stamp of an update: absolute for a PV's first one.
func (s *caStamps) text(f caFormat, pv string, server, client schema.Time) string {
	if !s.begun {
		s.first, s.begun = server, true
	}
	var since stampPair
	switch s.since {
	case 'r':
		since = stampPair{s.first, s.start}
	case 'i':
		since = s.last
	case 'I':
		since = s.lastOf[pv]
	}
	absolute := s.since == 0 || !s.printed[pv]
	s.printed[pv] = true
	s.last = stampPair{server, client}
	s.lastOf[pv] = s.last

	var b strings.Builder
	if s.server {
		b.WriteString(stampOrSpan(f, absolute, server, since.server, "%s", "              %+12.6f"))
	}
	if s.client {
		b.WriteString(stampOrSpan(f, absolute, client, since.client, "(%s)", "              (%+12.6f)"))
	}
	return b.String()
}

func stampOrSpan(f caFormat, absolute bool, at, since schema.Time, stamp, span string) string {
	if absolute {
		return fmt.Sprintf(stamp, f.stamp(at))
	}
	return fmt.Sprintf(span, float64(at.Sec-since.Sec)+(float64(at.Nsec)-float64(since.Nsec))/1e9)
}
