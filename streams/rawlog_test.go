package streams

import (
	"errors"
	"testing"
	"time"

	"pvlog/schema"
)

// TestTheRawLogOfAPVIsRead: the messages of one PV, parts joined, from a time, up
// to a sequence, until the reader has enough.
func TestTheRawLogOfAPVIsRead(t *testing.T) {
	l := openLog(t, Options{})
	stop := runLog(t, l)
	big := make([]byte, 3*partBytes)
	for i := range 6 {
		pv := schema.PVName("A:1")
		if i%2 == 1 {
			pv = "A:2"
		}
		at := schema.TimeOf(time.Now())
		s := schema.RawSample{Type: schema.WaveformByte, Registered: schema.WaveformByte, Year: at.Year(), Received: at.Go(),
			Event: schema.AppendBytes(schema.AppendHead(nil, at), []byte{byte(i)})}
		if i == 2 {
			s.Event = schema.AppendBytes(schema.AppendHead(nil, at), big)
		}
		if err := l.Samples().Append(t.Context(), pv, s); err != nil {
			t.Fatal(err)
		}
	}
	stop() // which publishes what waits
	read := func(f RawFilter) (all []Message) {
		t.Helper()
		f.PV = "A:1"
		if err := l.Samples().Read(t.Context(), f, func(m Message) error {
			all = append(all, m)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return all
	}
	samples := 0
	all := read(RawFilter{})
	for _, m := range all {
		if m.Err != nil || m.PV != "A:1" {
			t.Errorf("%+v", m)
		}
		for _, s := range m.Samples {
			if samples++; len(s.Event) > len(big) && m.First == m.Seq {
				t.Error("the large sample came in one part")
			}
		}
	}
	if samples != 3 {
		t.Fatalf("%d samples in %d messages, want 3", samples, len(all))
	}
	if got := read(RawFilter{UpTo: all[0].Seq}); len(got) != 1 || got[0].Seq != all[0].Seq {
		t.Errorf("up to the first: %d", len(got))
	}
	if got := read(RawFilter{Since: time.Now().Add(time.Hour)}); len(got) != 0 {
		t.Errorf("of the future: %d", len(got))
	}
	if got := read(RawFilter{Until: all[0].Time.Add(-time.Second)}); len(got) != 0 {
		t.Errorf("of before: %d", len(got))
	}
	enough := errors.New("enough")
	if err := l.Samples().Read(t.Context(), RawFilter{PV: "A:1"}, func(Message) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("%v", err)
	}
}
