package partition

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"pvlog/schema"
)

// chunk is what stands between two empty lines of a raw response: a PB file.
type chunk struct {
	header Header
	events [][]byte
}

// readChunks takes a PB file or raw response apart without the package's
// scanner.
func readChunks(t *testing.T, b []byte) []chunk {
	t.Helper()
	var chunks []chunk
	fresh := true
	for raw := range bytes.Lines(b) {
		line, ended := bytes.CutSuffix(raw, []byte{'\n'})
		switch {
		case !ended:
			t.Fatalf("%x has no LF", raw)
		case len(line) == 0:
			fresh = true
		case fresh:
			h, err := ParseHeader(line)
			if err != nil {
				t.Fatal(err)
			}
			chunks, fresh = append(chunks, chunk{header: h}), false
		default:
			event, err := AppendUnescaped(nil, line)
			if err != nil {
				t.Fatal(err)
			}
			c := &chunks[len(chunks)-1]
			c.events = append(c.events, event)
		}
	}
	return chunks
}

func goldenFiles(t testing.TB) []string {
	t.Helper()
	pb, _ := filepath.Glob("testdata/pb/*.pb")
	raw, _ := filepath.Glob("testdata/raw-responses/*")
	files := append(pb, raw...)
	if len(files) != 9 {
		t.Fatalf("%d golden files, want 9", len(files))
	}
	return files
}

func TestGoldenFilesAreWrittenAgainByteForByte(t *testing.T) {
	samples := map[string]int{
		"lrm01_raw.pb": 1, "sig1-wo-adel.pb": 37, "SCALAR_DOUBLE_sampledata": -1, "SCALAR_ENUM_sampledata": -1,
		"SCALAR_STRING_sampledata": -1, "WAVEFORM_BYTE_sampledata": 2, "WAVEFORM_DOUBLE_sampledata": 2,
		"empty_data": 0, "multipleChunksInSameYear": -1,
	}
	for _, path := range goldenFiles(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			n := 0
			for i, c := range readChunks(t, want) {
				if i > 0 {
					got = append(got, '\n')
				}
				got = AppendHeader(got, c.header)
				for _, event := range c.events {
					n++
					got = AppendLine(got, encodeAgain(t, c.header, event))
				}
			}
			if !bytes.Equal(got, want) {
				t.Errorf("written again: %d bytes that differ from the file's %d", len(got), len(want))
			}
			if w := samples[filepath.Base(path)]; w >= 0 && n != w || w < 0 && n < 10 {
				t.Errorf("%d samples", n)
			}
		})
	}
}

// encodeAgain decodes a sample fully and encodes what it says.
func encodeAgain(t *testing.T, h Header, event []byte) []byte {
	t.Helper()
	s, err := schema.DecodeSample(h.Type, h.Year, event)
	if err != nil {
		t.Fatal(err)
	}
	b := schema.AppendHead(nil, s.Time)
	switch v := s.Value.(type) {
	case float64:
		b = schema.AppendDouble(b, v)
	case int32:
		b = schema.AppendSint(b, v) // the golden files have an enum only
	case string:
		b = schema.AppendString(b, []byte(v))
	case []byte:
		b = schema.AppendBytes(b, v)
	case []float64:
		b = schema.AppendDoubles(b, len(v), func(i int) float64 { return v[i] })
	default:
		t.Fatalf("no encoder for %T", v)
	}
	b = schema.AppendAlarm(b, s.Severity, s.Status)
	for _, f := range s.Fields {
		b = schema.AppendField(b, f.Name, f.Val)
	}
	if s.FieldsChanged {
		b = schema.AppendFieldsChanged(b, true)
	}
	return b
}

func TestGoldenFilesAreReadAsTheirSamples(t *testing.T) {
	for _, path := range goldenFiles(t) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range readChunks(t, b) {
			file := AppendHeader(nil, c.header)
			for _, event := range c.events {
				file = AppendLine(file, event)
			}
			name := filepath.Join(t.TempDir(), "chunk.pb")
			if err := os.WriteFile(name, file, 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := Open(name)
			if err != nil {
				t.Fatalf("%s chunk %d: %v", path, i, err)
			}
			for j, event := range c.events {
				line, err := r.Next()
				if err != nil || !bytes.Equal(line.Event, event) {
					t.Fatalf("%s chunk %d sample %d: %v, %x, want %x", path, i, j, err, line.Event, event)
				}
			}
			if tail, err := Check(name); err != nil || tail.Lines != len(c.events) || tail.Cut != 0 {
				t.Errorf("%s chunk %d: Check gives %+v, %v", path, i, tail, err)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestGoldenFactsOfSig1 are facts that the Appliance's own tests state of the
// file.
func TestGoldenFactsOfSig1(t *testing.T) {
	const path = "testdata/pb/sig1-wo-adel.pb"
	tail, err := ReadTail(path)
	if err != nil {
		t.Fatal(err)
	}
	if h := tail.Header; h.Type != schema.ScalarDouble || h.PV != "TST-CT{}Sig:1-I" || h.Year != 2014 || h.ElementCount != 1 ||
		len(h.Fields) != 1 || h.Fields[0] != (schema.FieldValue{Name: "PREC", Val: "0"}) {
		t.Errorf("header %+v", h)
	}
	if got := tail.Last.String(); got != "2014-12-10T19:12:54.829288223Z" || tail.Length != 870 || tail.Cut != 0 {
		t.Errorf("tail %+v, last %s", tail, got)
	}
	s, err := schema.DecodeSample(tail.Header.Type, tail.Header.Year, tail.Event)
	if err != nil || len(s.Fields) != 2 || s.Fields[1] != (schema.FieldValue{Name: "cnxregainedepsecs", Val: "1418238776"}) {
		t.Errorf("last sample %+v, %v", s, err)
	}
}
