package appliance

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"pvlog/consumers/archive"
	"pvlog/consumers/partition"
	"pvlog/ingest"
	"pvlog/schema"
)

// PV is how one archived PV fares.
type PV struct {
	Name      schema.PVName
	Connected bool
	Value     string // newest, shortened
	Alarm     string // severity, "" for none
	Stored    uint64 // samples made durable since it was registered
	Dropped   uint64 // samples in the drop log since it was registered
	Path      string // newest partition
	Bytes     int64  // of it
}

// Overview is the state of the pipeline at one moment.
type Overview struct {
	PVs          []PV // by name
	Connected    int
	Stored       uint64
	Dropped      uint64
	Waiting      int64  // samples that are not yet in the log
	LastSequence uint64 // of SAMPLES
	Messages     uint64 // in SAMPLES
	LogBytes     int64
	Lag          uint64 // messages that the archive has not acknowledged
}

// Overview looks at all parts. It may be called once Ready is closed.
func (a *Appliance) Overview(ctx context.Context) (Overview, error) {
	state, err := a.streams.State(ctx)
	if err != nil {
		return Overview{}, fmt.Errorf("look at the log: %w", err)
	}
	o := Overview{
		Waiting: a.streams.Samples().Waiting().Samples, LastSequence: state.Samples.Last,
		Messages: state.Samples.Messages, LogBytes: int64(state.Samples.Bytes), Lag: state.Lag,
	}
	for _, info := range a.registry.All() {
		p := a.pv(info.PV)
		o.PVs = append(o.PVs, p)
		o.Stored += p.Stored
		o.Dropped += p.Dropped
		if p.Connected {
			o.Connected++
		}
	}
	slices.SortFunc(o.PVs, func(x, y PV) int { return cmp.Compare(x.Name, y.Name) })
	return o, nil
}

func (a *Appliance) pv(name schema.PVName) PV {
	p := PV{Name: name}
	if channel, ok := a.engine.State(name); ok {
		p.Connected = channel.Connection == ingest.Connected
	}
	if s, ok := a.archive.Status(name); ok {
		p.Stored, p.Dropped, p.Path, p.Bytes = s.Stored, s.Dropped, s.Path, s.Bytes
		p.Value, p.Alarm = newest(a.archive.Tail(name), s.Path)
	}
	return p
}

var severities = []string{"", "MINOR", "MAJOR", "INVALID"}

// newest shows the newest sample of the tail, else that of the file.
func newest(tail []archive.Unwritten, path string) (value, alarm string) {
	var s schema.Sample
	var err error
	if n := len(tail); n > 0 {
		s, err = schema.DecodeSample(tail[n-1].Type, tail[n-1].Year, tail[n-1].Event)
	} else if path != "" {
		var end partition.Tail
		if end, err = partition.ReadTail(path); err == nil && end.Event != nil {
			s, err = schema.DecodeSample(end.Header.Type, end.Header.Year, end.Event)
		}
	}
	if err != nil {
		return err.Error(), ""
	}
	if s.Severity >= 0 && int(s.Severity) < len(severities) {
		alarm = severities[s.Severity]
	}
	return shorten(s.Value), alarm
}

// shorten prints a value in a table's cell; of an array the length and begin.
func shorten(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case []float64:
		return array(v, "%.6g")
	case []float32:
		return array(v, "%.6g")
	case []int32:
		return array(v, "%d")
	case []string:
		return array(v, "%q")
	case []byte:
		if len(v) == 1 {
			return fmt.Sprint(v[0])
		}
		return array(v, "%d")
	case float64:
		return fmt.Sprintf("%.8g", v)
	case string:
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprint(value)
}

func array[T any](v []T, format string) string {
	text := fmt.Sprintf("[%d]", len(v))
	for _, x := range v[:min(3, len(v))] {
		text += " " + fmt.Sprintf(format, x)
	}
	if len(v) > 3 {
		text += " ..."
	}
	return text
}
