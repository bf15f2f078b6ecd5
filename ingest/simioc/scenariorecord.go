package simioc

import (
	"fmt"
	"math"
	"strings"
	"time"

	"pvlog/ingest/ca"
)

// Bounds of a scenario.
const (
	maxScenarioBytes = 4 << 20
	maxIOCs          = 16
	maxRecords       = 100_000 // of all IOCs
	maxSteps         = 10_000
	maxGenerated     = 20_000_000 // elements per second of one generator
	maxSpan          = 365 * 24 * time.Hour
)

// record makes a Record of its keys.
func (f *recordFile) record(path string) (Record, error) {
	r := Record{Name: f.Name, Aliases: f.Aliases, Count: f.Count, RTYP: f.RTYP, Desc: f.Desc, Units: f.Units,
		Precision: f.Precision, Labels: f.Labels, MDEL: f.MDEL, ADEL: f.ADEL, Rate: f.Rate}
	if f.Alarm != nil && (f.Alarm.Record != "" || f.Alarm.Clear) || f.Time != nil && f.Time.Record != "" {
		return r, wrong(path, "record and clear are keys of steps")
	}
	t, err := choice(path+".type", f.Type, typeNames)
	if err != nil {
		return r, err
	}
	r.Type = ca.DBR(t)
	if r.Count == 0 {
		r.Count = naturalCount(r.Type, f.Value)
	}
	if r.Process, err = duration(path+".process", f.Process, 0, maxProcess); err != nil {
		return r, err
	}
	if r.Clock, err = f.Time.clock(path + ".time"); err != nil {
		return r, err
	}
	for i, s := range f.States {
		severity, err := choice(fmt.Sprintf("%s.states[%d]", path, i), s, severityNames)
		if err != nil {
			return r, err
		}
		r.States = append(r.States, int16(severity))
	}
	if r.Limits, err = f.Limits.limits(path + ".limits"); err != nil {
		return r, err
	}
	if err := r.check(); err != nil {
		return r, &fault{path: path, err: err}
	}
	return r, f.values(path, &r)
}

// values sets the first value and the generator of a checked record.
func (f *recordFile) values(path string, r *Record) (err error) {
	if f.Value != nil {
		if r.Value, err = r.kind().value(f.Value); err != nil {
			return wrong(path+".value", "%w", err)
		}
	}
	switch {
	case f.Generate == nil:
		return nil
	case r.Rate == 0:
		return wrong(path+".rate", "a record that generates values has a rate")
	case r.Rate*float64(r.elements()) > maxGenerated:
		return wrong(path+".rate", "%v elements a second, %d are allowed", r.Rate*float64(r.elements()), maxGenerated)
	}
	r.Generate, err = f.Generate.generator(path+".generate", r.kind())
	return err
}

// naturalCount is the count of a record that states none: that of its value.
func naturalCount(t ca.DBR, value any) int {
	switch v := value.(type) {
	case []any:
		return max(len(v), 1)
	case string:
		if t == ca.DBRChar {
			return len(v) + 1
		}
	}
	return 1
}

// limits are in force as far as they are stated: no value is beyond NaN.
func (f *limitsFile) limits(path string) (Limits, error) {
	if f == nil {
		return Limits{}, nil
	}
	l := Limits{LOPR: f.LOPR, HOPR: f.HOPR, Alarm: f.LOLO != nil || f.LOW != nil || f.HIGH != nil || f.HIHI != nil}
	if l.Alarm {
		l.LOLO, l.LOW, l.HIGH, l.HIHI = math.NaN(), math.NaN(), math.NaN(), math.NaN()
	}
	set(&l.LOLO, f.LOLO)
	set(&l.LOW, f.LOW)
	set(&l.HIGH, f.HIGH)
	set(&l.HIHI, f.HIHI)
	for _, s := range []struct {
		key, name string
		to        *int16
	}{{".llsv", f.LLSV, &l.LLSV}, {".lsv", f.LSV, &l.LSV}, {".hsv", f.HSV, &l.HSV}, {".hhsv", f.HHSV, &l.HHSV}} {
		if s.name == "" {
			continue
		}
		severity, err := choice(path+s.key, s.name, severityNames[severityMinor:])
		if err != nil {
			return l, err
		}
		*s.to = int16(severity) + severityMinor
	}
	return l, nil
}

// clock reads how stamps go; nil is the right time.
func (f *timeFile) clock(path string) (c Clock, err error) {
	if f == nil {
		return c, nil
	}
	c.Frozen, c.Epoch = f.Frozen, f.Epoch1990
	if c.Skew, err = duration(path+".skew", f.Skew, -maxSkew, maxSkew); err != nil {
		return c, err
	}
	if c.Backwards, err = duration(path+".backwards", f.Backwards, time.Nanosecond, maxSkew); err != nil {
		return c, err
	}
	if f.Absolute != "" {
		if c.Absolute, err = instant(path+".absolute", f.Absolute); err != nil {
			return c, err
		}
	}
	if err := c.check(); err != nil {
		return c, &fault{path: path, err: err}
	}
	if f.Normal == (c != Clock{}) {
		return c, wrong(path, "state one of normal, skew, frozen, backwards, epoch1990 and absolute")
	}
	return c, nil
}

// alarm reads severity and status; without a status it is SOFT, and NO_ALARM
// for no severity.
func readAlarm(path, severity, status string) (a alarm, err error) {
	s, err := choice(path+".severity", severity, severityNames)
	if err != nil {
		return a, err
	}
	a.severity = int16(s)
	if s != severityNone {
		a.status = statusSoft
	}
	if status != "" {
		s, err = choice(path+".status", status, statusNames)
		a.status = int16(s)
	}
	return a, err
}

// access reads the rights of clients; "" are all.
func access(path, s string) (uint32, error) {
	if s == "" {
		return ca.AccessRead | ca.AccessWrite, nil
	}
	bits, err := choice(path, s, rightsNames)
	return uint32(bits), err
}

// host makes an IOC with its records of its keys.
func (f *iocFile) host(path string, room int) (*host, error) {
	h := &host{name: f.Name, opts: Options{Listen: f.Listen, Prefix: f.Prefix, Beacons: f.Beacons, Minor: f.Minor}}
	if h.opts.Listen == "" {
		h.opts.Listen = "127.0.0.1:0"
	}
	if _, err := resolveBeacons(f.Beacons); err != nil {
		return nil, &fault{path: path + ".beacons", err: err}
	}
	if len(f.Records) > room {
		return nil, wrong(path+".records", "more than %d records in all", maxRecords)
	}
	for i := range f.Records {
		p := fmt.Sprintf("%s.records[%d]", path, i)
		r, err := f.Records[i].record(p)
		if err != nil {
			return nil, err
		}
		var first beginning
		if first.rights, err = access(p+".access", strings.TrimSpace(either(f.Records[i].Access, f.Access))); err != nil {
			return nil, err
		}
		if a := f.Records[i].Alarm; a != nil {
			stated, err := readAlarm(p+".alarm", a.Severity, a.Status)
			if err != nil {
				return nil, err
			}
			first.alarm = &stated
		}
		h.opts.Records = append(h.opts.Records, r)
		h.first = append(h.first, first)
	}
	if err := New(h.opts).Err(); err != nil {
		return nil, &fault{path: path + ".records", err: err}
	}
	return h, nil
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
