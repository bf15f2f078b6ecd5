package archive

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pvlog/schema"
)

// TestRawStreamsOfTheApplianceAreRead takes the recorded answers of a Java
// Appliance apart.
func TestRawStreamsOfTheApplianceAreRead(t *testing.T) {
	for name, want := range map[string]schema.DBRType{
		"SCALAR_DOUBLE_sampledata": schema.ScalarDouble, "SCALAR_ENUM_sampledata": schema.ScalarEnum, "SCALAR_STRING_sampledata": schema.ScalarString,
		"WAVEFORM_BYTE_sampledata": schema.WaveformByte, "WAVEFORM_DOUBLE_sampledata": schema.WaveformDouble,
		"multipleChunksInSameYear": schema.ScalarDouble, "empty_data": schema.UnknownType,
	} {
		b, err := os.ReadFile(filepath.Join("..", "partition", "testdata", "raw-responses", name))
		if err != nil {
			t.Fatal(err)
		}
		var got []Late
		err = readStream(b, &got)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if want == schema.UnknownType {
			if len(got) > 0 {
				t.Errorf("%s: %d samples", name, len(got))
			}
			continue
		}
		if len(got) == 0 || got[0].Type != want {
			t.Errorf("%s: %d samples", name, len(got))
		}
		for i := 1; i < len(got); i++ {
			if !got[i].Time.After(got[i-1].Time) && name != "multipleChunksInSameYear" {
				t.Errorf("%s: sample %d is at %v, the one before at %v", name, i, got[i].Time, got[i-1].Time)
			}
		}
	}
}

func readStream(b []byte, got *[]Late) error {
	s := newRawStream(bytes.NewReader(b), func(late []Late, _ *Moved) error { *got = append(*got, late...); return nil })
	return s.read(context.Background())
}

func TestAStreamThatIsNoneIsTold(t *testing.T) {
	good, err := os.ReadFile(filepath.Join("..", "partition", "testdata", "raw-responses", "SCALAR_DOUBLE_sampledata"))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(good, []byte("\n"))
	for name, c := range map[string]struct {
		bytes []byte
		says  string
	}{
		"a page":       {[]byte("<html>no</html>\n"), "line 1 is no header"},
		"cut short":    {good[:len(lines[0])+5], "ends within line 2"},
		"garbage":      {append(bytes.Clone(lines[0]), "garbage\n"...), "line 2 of the raw stream is no sample"},
		"another type": {append([]byte("\x08\x00\x12\x02PV\x18\xe7\x0f\n"), lines[1]...), "line 2 of the raw stream is no sample"},
	} {
		var got []Late
		err := readStream(c.bytes, &got)
		if schema.CodeOf(err) != schema.Invalid || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	failed := errors.New("connection reset")
	s := newRawStream(failing{bytes.NewReader(good), failed}, func([]Late, *Moved) error { return nil })
	if err := s.read(context.Background()); !errors.Is(err, failed) {
		t.Errorf("a connection that breaks: %v", err)
	}
}

// failing ends a reader with an error.
type failing struct {
	*bytes.Reader
	err error
}

func (f failing) Read(b []byte) (int, error) {
	n, err := f.Reader.Read(b)
	if err != nil {
		err = f.err
	}
	return n, err
}

func FuzzRawStream(f *testing.F) {
	good, err := os.ReadFile(filepath.Join("..", "partition", "testdata", "raw-responses", "multipleChunksInSameYear"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("\n\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got []Late
		if err := readStream(b, &got); err != nil && schema.CodeOf(err) != schema.Invalid {
			t.Errorf("%v", err)
		}
		for _, l := range got {
			if _, err := schema.DecodeSample(l.Type, l.Time.Year(), l.Event); err != nil {
				t.Errorf("%v", err)
			}
		}
	})
}
