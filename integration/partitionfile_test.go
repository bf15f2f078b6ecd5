package integration

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"pvlog/schema"
	"pvlog/schema/epicspb"
)

// This is a second reader of PB files, written from the Appliance's format and
// not from pvlog's partition package, which wrote what it reads.

// readStore gives every PV's samples from the partition files below a folder,
// oldest file first. It fails the test on any byte that should not be there.
func readStore(t testing.TB, root string) map[string][]sample {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Ext(path) == ".pb" {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatalf("walk the store: %v", err)
	}
	slices.Sort(paths) // the time in a name sorts as text
	store := map[string][]sample{}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		pv, samples, err := parsePartition(content)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if err := checkPath(root, path, pv, samples); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		store[pv] = append(store[pv], samples...)
	}
	return store
}

// parsePartition reads one file: a header line, then a line per sample, each
// later than the one before.
func parsePartition(content []byte) (string, []sample, error) {
	chunks, err := parseRaw(content)
	if err != nil {
		return "", nil, err
	}
	if len(chunks) != 1 {
		return "", nil, fmt.Errorf("%d headers", len(chunks))
	}
	for i, s := range chunks[0].samples {
		if i > 0 && !s.at.After(chunks[0].samples[i-1].at) {
			return "", nil, fmt.Errorf("sample %d is not later than the one before: %v after %v", i, s, chunks[0].samples[i-1])
		}
		if s.at.Sec < schema.Floor {
			return "", nil, fmt.Errorf("sample %d is before 1991: %v", i, s)
		}
	}
	return chunks[0].pv, chunks[0].samples, nil
}

// checkPath requires that a file stands where its PV and hour belong.
func checkPath(root, path, pv string, samples []sample) error {
	if len(samples) == 0 {
		return fmt.Errorf("a header and no sample")
	}
	rel, err := filepath.Rel(root, path)
	if err != nil {
		return err
	}
	hour := samples[0].at.Go().Format("2006_01_02_15")
	want := strings.NewReplacer(":", "/", "-", "/").Replace(pv) + ":" + hour + ".pb"
	if filepath.ToSlash(rel) != want {
		return fmt.Errorf("holds samples of %s", want)
	}
	if last := samples[len(samples)-1].at.Go().Format("2006_01_02_15"); last != hour {
		return fmt.Errorf("ends in another hour, %s", last)
	}
	return nil
}

// chunk is what stands between two headers of a raw stream.
type chunk struct {
	pv      string
	dbr     schema.DBRType
	year    int
	headers map[string]string
	samples []sample
}

// parseRaw reads a PB file or a getData.raw answer: chunks of a header and
// samples, an empty line between chunks.
func parseRaw(content []byte) ([]chunk, error) {
	if len(content) == 0 {
		return nil, nil
	}
	if content[len(content)-1] != '\n' {
		return nil, fmt.Errorf("the last line has no end: %q", content[max(0, len(content)-40):])
	}
	var chunks []chunk
	header := true
	for i, line := range bytes.Split(content[:len(content)-1], []byte{'\n'}) {
		if len(line) == 0 {
			header = true
			continue
		}
		message, err := unescape(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if header {
			header = false
			c, err := parseHeader(message)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
			chunks = append(chunks, c)
			continue
		}
		c := &chunks[len(chunks)-1]
		s, err := parseSample(c.dbr, c.year, message)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		c.samples = append(c.samples, s)
	}
	return chunks, nil
}

func parseHeader(message []byte) (chunk, error) {
	var info epicspb.PayloadInfo
	if err := proto.Unmarshal(message, &info); err != nil {
		return chunk{}, fmt.Errorf("header: %w", err)
	}
	c := chunk{pv: info.GetPvname(), dbr: schema.DBRType(info.GetType()), year: int(info.GetYear()), headers: map[string]string{}}
	for _, h := range info.GetHeaders() {
		c.headers[h.GetName()] = h.GetVal()
	}
	return c, nil
}

func parseSample(dbr schema.DBRType, year int, message []byte) (sample, error) {
	decoded, err := schema.DecodeSample(dbr, year, message)
	if err != nil {
		return sample{}, err
	}
	s := sample{
		at: decoded.Time, severity: decoded.Severity, status: decoded.Status,
		dbr: dbr, value: decoded.Value, fields: map[string]string{},
	}
	for _, f := range decoded.Fields {
		s.fields[f.Name] = f.Val
	}
	return s, nil
}

// unescape turns 1B 01, 1B 02 and 1B 03 back into 1B, LF and CR.
func unescape(line []byte) ([]byte, error) {
	out := make([]byte, 0, len(line))
	for i := 0; i < len(line); i++ {
		if line[i] != 0x1b {
			out = append(out, line[i])
			continue
		}
		i++
		if i == len(line) || line[i] < 1 || line[i] > 3 {
			return nil, fmt.Errorf("an escape byte escapes nothing: %q", line)
		}
		out = append(out, "\x1b\n\r"[line[i]-1])
	}
	return out, nil
}

// TestSecondReaderReadsTheAppliance judges this reader by files that the Java
// Appliance wrote; their lines are counted as `wc -l` does.
func TestSecondReaderReadsTheAppliance(t *testing.T) {
	for file, wantChunks := range map[string]int{
		"pb/lrm01_raw.pb": 1, "pb/sig1-wo-adel.pb": 1,
		"raw-responses/SCALAR_DOUBLE_sampledata": 1, "raw-responses/SCALAR_ENUM_sampledata": 1,
		"raw-responses/SCALAR_STRING_sampledata": 1, "raw-responses/WAVEFORM_BYTE_sampledata": 1,
		"raw-responses/empty_data": 0,
	} {
		content, err := os.ReadFile(filepath.Join("..", "consumers", "partition", "testdata", filepath.FromSlash(file)))
		if err != nil {
			t.Fatal(err)
		}
		chunks, err := parseRaw(content)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		lines := 0
		for line := range bytes.Lines(content) {
			if len(line) > 1 {
				lines++
			}
		}
		samples := len(chunks)
		for _, c := range chunks {
			samples += len(c.samples)
		}
		if len(chunks) != wantChunks || samples != lines {
			t.Errorf("%s: %d headers and samples in %d chunks, the file has %d lines and %d chunks", file, samples, len(chunks), lines, wantChunks)
		}
	}
}

func TestSecondReaderRefusesWhatIsBroken(t *testing.T) {
	header := "\x08\x06\x12\x01X\x18\xd2\x0f\n" // SCALAR_DOUBLE X 2002
	line := "\x08\x01\x10\x02\x19AAAAAAAA\n"
	for name, content := range map[string]string{
		"no end of line":    header + strings.TrimSuffix(line, "\n"),
		"torn sample":       header + line[:6] + "\n",
		"stray escape":      header + "\x08\x01\x10\x02\x19AAAAAAA\x1b\n",
		"equal times":       header + line + line,
		"two headers":       header + line + "\n" + header + line,
		"nothing but noise": "noise\n",
	} {
		if _, samples, err := parsePartition([]byte(content)); err == nil {
			t.Errorf("%s: read as %v", name, samples)
		}
	}
	if _, samples, err := parsePartition([]byte(header + line)); err != nil || len(samples) != 1 {
		t.Errorf("a sound file: %v, %v", samples, err)
	}
}
