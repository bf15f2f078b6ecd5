package simioc

import (
	"fmt"
	"strings"
	"time"

	"pvlog/schema"
)

// minEvery keeps a step from taking a processor for itself.
const minEvery = time.Millisecond

// step makes a step of its keys.
func (s *Scenario) step(path string, f *stepFile) (*step, error) {
	st := &step{path: path, times: f.Times}
	var err error
	if st.at, err = duration(path+".at", f.At, 0, maxSpan); err != nil {
		return nil, err
	}
	if st.every, err = duration(path+".every", f.Every, minEvery, maxSpan); err != nil {
		return nil, err
	}
	switch {
	case f.At == "" && f.Every == "":
		return nil, wrong(path, "a step needs at or every")
	case f.Times < 0 || f.Times > 0 && f.Every == "":
		return nil, wrong(path+".times", "times is a count, and goes with every")
	case f.At == "":
		st.at = st.every
	}
	if st.hosts = s.hosts; f.IOC != "" {
		h := s.host(f.IOC)
		if h == nil {
			return nil, wrong(path+".ioc", "there is no IOC %q", f.IOC)
		}
		st.hosts = []*host{h}
	}
	names := f.actions()
	if len(names) != 1 {
		return nil, wrong(path, "%d actions (%s), a step has one", len(names), strings.Join(names, ", "))
	}
	st.path += "." + names[0]
	if err := s.action(f, st, names[0]); err != nil {
		return nil, err
	}
	return st, nil
}

// actions names those that the step states.
func (f *stepFile) actions() []string {
	var names []string
	for _, a := range []struct {
		name   string
		stated bool
	}{
		{"put", f.Put != nil}, {"alarm", f.Alarm != nil}, {"time", f.Time != nil}, {"change", f.Change != nil},
		{"metadata", f.Metadata != nil}, {"access", f.Access != nil}, {"disconnect", f.Disconnect},
		{"server_disconnect", f.ServerDisconnect != ""}, {"silence", f.Silence != ""}, {"slow", f.Slow != nil},
		{"wedge", f.Wedge != ""}, {"mute", f.Mute != nil}, {"beacons", f.Beacons}, {"restart", f.Restart != ""}, {"stop", f.Stop},
	} {
		if a.stated {
			names = append(names, a.name)
		}
	}
	return names
}

// action sets what a step does.
func (s *Scenario) action(f *stepFile, st *step, name string) error {
	switch name {
	case "put":
		return f.Put.action(st, s.changes[f.Put.Record])
	case "alarm":
		return f.Alarm.action(st)
	case "time":
		return f.Time.action(st)
	case "change":
		return f.Change.action(st)
	case "metadata":
		return f.Metadata.action(st)
	case "access":
		return f.Access.action(st)
	case "server_disconnect":
		return st.onRecord("", f.ServerDisconnect, (*IOC).DisconnectRecord)
	case "mute":
		return f.Mute.action(st)
	}
	return f.iocAction(st, name)
}

// iocAction sets what a step does to whole IOCs.
func (f *stepFile) iocAction(st *step, name string) (err error) {
	switch name {
	case "disconnect":
		st.do = onIOC((*IOC).DisconnectAll)
	case "beacons":
		st.do = onIOC((*IOC).RestartBeacons)
	case "stop":
		st.do = func(h *host) error { return h.shut(0, true) }
	case "restart":
		pause, err := duration(st.path, f.Restart, 0, maxSpan)
		st.do = func(h *host) error { return h.shut(pause, false) }
		return err
	case "silence":
		err = st.last("", f.Silence, func(ioc *IOC) { ioc.Silence(true) }, func(ioc *IOC) { ioc.Silence(false) })
	case "wedge":
		err = st.last("", f.Wedge, func(ioc *IOC) { ioc.Wedge(true) }, func(ioc *IOC) { ioc.Silence(false) })
	case "slow":
		if f.Slow.BytesPerSecond < 1 {
			return wrong(st.path+".bytes_per_second", "%d, 1 or more are needed", f.Slow.BytesPerSecond)
		}
		err = st.last(".for", f.Slow.For, func(ioc *IOC) { ioc.SlowTo(f.Slow.BytesPerSecond) }, func(ioc *IOC) { ioc.SlowTo(0) })
	}
	return err
}

// onIOC makes an action of what is done to a running IOC.
func onIOC(do func(*IOC)) func(h *host) error {
	return func(h *host) error {
		ioc, err := h.now()
		if err == nil {
			do(ioc)
		}
		return err
	}
}

// last makes an action that ends after a time, which key states.
func (st *step) last(key, s string, do, undo func(*IOC)) error {
	span, err := duration(st.path+key, s, time.Millisecond, maxSpan)
	if err == nil && span == 0 {
		err = wrong(st.path+key, "a duration is needed")
	}
	_, st.what, _ = strings.Cut(st.path, ".")
	if st.what == "silence" {
		st.what = "wedge" // both hold circuits: the later end is that of both
	}
	st.span, st.do, st.undo = span, onIOC(do), onIOC(undo)
	return err
}

// find keeps the IOCs that have a record, and gives its name and kinds there.
func (st *step) find(key, name string) ([]Record, error) {
	var having []*host
	var records []Record
	for _, h := range st.hosts {
		if i := h.index(name); i >= 0 {
			having = append(having, h)
			records = append(records, h.opts.Records[i])
		}
	}
	if len(having) == 0 {
		return nil, wrong(st.path+key, "no IOC of this step has a record %q (names here are without prefix)", name)
	}
	st.hosts = having
	return records, nil
}

// onRecord makes an action of what is done to a record.
func (st *step) onRecord(key, name string, do func(ioc *IOC, name string) error) error {
	if _, err := st.find(key, name); err != nil {
		return err
	}
	st.do = func(h *host) error {
		ioc, err := h.now()
		if err != nil {
			return err
		}
		return do(ioc, h.opts.Prefix+name)
	}
	return nil
}

// action takes a value that fits the record as it is or as a step makes it.
func (f *putFile) action(st *step, changes []kind) error {
	var options []PutOption
	if f.Severity != "" || f.Status != "" {
		a, err := readAlarm(st.path, f.Severity, f.Status)
		if err != nil {
			return err
		}
		options = append(options, WithAlarm(a.severity, a.status))
	}
	if f.Time != "" {
		at, err := instant(st.path+".time", f.Time)
		if err != nil {
			return err
		}
		if f.Nanos != 0 {
			at = schema.Time{Sec: at.Sec, Nsec: f.Nanos}
		}
		options = append(options, WithTime(at))
	} else if f.Nanos != 0 {
		return wrong(st.path+".nanos", "nanos go with a time")
	}
	records, err := st.find(".record", f.Record)
	if err != nil {
		return err
	}
	for _, r := range records {
		_, err := r.kind().value(f.Value)
		for _, k := range changes {
			if _, other := k.value(f.Value); other == nil {
				err = nil
			}
		}
		if err != nil {
			return wrong(st.path+".value", "%w", err)
		}
	}
	return st.onRecord(".record", f.Record, func(ioc *IOC, name string) error {
		r, err := ioc.record("put", name)
		if err != nil {
			return err
		}
		v, err := r.def.kind().value(f.Value) // the type may have changed
		if err != nil {
			return err
		}
		return ioc.Put(name, v, options...)
	})
}

func (f *alarmFile) action(st *step) error {
	if f.Clear {
		return st.onRecord(".record", f.Record, (*IOC).ClearAlarm)
	}
	a, err := readAlarm(st.path, f.Severity, f.Status)
	if err != nil {
		return err
	}
	return st.onRecord(".record", f.Record, func(ioc *IOC, name string) error { return ioc.SetAlarm(name, a.severity, a.status) })
}

func (f *timeFile) action(st *step) error {
	c, err := f.clock(st.path)
	if err != nil {
		return err
	}
	return st.onRecord(".record", f.Record, func(ioc *IOC, name string) error { return ioc.SetClock(name, c) })
}

func (f *accessFile) action(st *step) error {
	rights, err := access(st.path+".rights", f.Rights)
	if err == nil && f.Rights == "" {
		err = wrong(st.path, "access needs rights: %s", strings.Join(rightsNames, ", "))
	}
	if err != nil {
		return err
	}
	return st.onRecord(".record", f.Record, func(ioc *IOC, name string) error { return ioc.SetAccess(name, rights) })
}

func (f *muteFile) action(st *step) error {
	mute := func(ioc *IOC, name string) error { return ioc.Mute(name, f.Later) }
	if err := st.onRecord(".record", f.Record, mute); err != nil || f.For == "" {
		return err
	}
	span, err := duration(st.path+".for", f.For, time.Millisecond, maxSpan)
	st.span, st.what = span, "mute "+f.Record
	st.undo = func(h *host) error {
		ioc, err := h.now()
		if err != nil {
			return err
		}
		return ioc.Unmute(h.opts.Prefix + f.Record)
	}
	return err
}

func (f *metadataFile) action(st *step) error {
	p := Properties{Desc: f.Desc, Units: f.Units, Precision: f.Precision, Labels: f.Labels, MDEL: f.MDEL, ADEL: f.ADEL}
	if f.Limits != nil {
		l, err := f.Limits.limits(st.path + ".limits")
		if err != nil {
			return err
		}
		p.Limits = &l
	}
	records, err := st.find(".record", f.Record)
	if err != nil {
		return err
	}
	for _, r := range records {
		if err := New(Options{Records: []Record{r}}).SetProperties(r.Name, p); err != nil {
			return &fault{path: st.path, err: err}
		}
	}
	return st.onRecord(".record", f.Record, func(ioc *IOC, name string) error { return ioc.SetProperties(name, p) })
}

func (f *changeFile) action(st *step) error {
	records, err := st.find(".record", f.Record)
	if err != nil {
		return err
	}
	changed := make(map[*host]Record)
	for i, r := range records {
		g := recordFile{Name: r.Name, Type: f.Type, Count: f.Count, Value: f.Value, Rate: r.Rate, Generate: f.Generate, Labels: r.Labels}
		to, err := g.record(st.path)
		if err != nil {
			return err
		}
		r.Type, r.Count, r.Value, r.Generate = to.Type, to.Count, to.Value, to.Generate
		if r.Limits.Alarm && !r.numeric() {
			r.Limits = Limits{}
		}
		if err := r.check(); err != nil {
			return &fault{path: st.path, err: fmt.Errorf("as changed: %w", err)}
		}
		changed[st.hosts[i]] = r
	}
	st.do = func(h *host) error { return h.replace(changed[h]) }
	return nil
}
