package partition

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pvlog/schema"
)

// partitionOf writes a partition of PV with events under a header's type.
func partitionOf(t *testing.T, h Header, events ...[]byte) string {
	t.Helper()
	file := AppendHeader(nil, h)
	for _, event := range events {
		file = AppendLine(file, event)
	}
	path := filepath.Join(t.TempDir(), "PV.pb")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// doubles are events at seconds 1, 2, ... of the year 2023.
func doubleEvents(values ...float64) (events [][]byte) {
	for i, v := range values {
		events = append(events, schema.AppendDouble(schema.AppendHead(nil, schema.TimeFromYear(2023, uint32(i+1), 0)), v))
	}
	return events
}

// TestGoldenFilesConvertedAndBackAreByteForByteTheSame takes files and answers
// of the Java Appliance through a type that holds all their values.
func TestGoldenFilesConvertedAndBackAreByteForByteTheSame(t *testing.T) {
	through := map[schema.DBRType]schema.DBRType{
		schema.ScalarDouble: schema.ScalarString, schema.ScalarEnum: schema.WaveformInt, schema.ScalarString: schema.WaveformString,
		schema.WaveformByte: schema.WaveformShort, schema.WaveformDouble: schema.WaveformString,
	}
	ctx := context.Background()
	for _, path := range goldenFiles(t) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range readChunks(t, b) {
			h := c.header
			original := partitionOf(t, h, c.events...)
			dir := t.TempDir()
			there, back := filepath.Join(dir, "there"), filepath.Join(dir, "back")
			done, err := Convert(ctx, OSFS{}, original, there, h.PV, schema.Conversion{To: through[h.Type]}, nil)
			if err != nil || done.Samples != len(c.events) || done.Lost != 0 || done.From != h.Type {
				t.Fatalf("%s: %+v, %v", path, done, err)
			}
			if _, err := Convert(ctx, OSFS{}, there, back, h.PV, schema.Conversion{To: h.Type}, nil); err != nil {
				t.Fatalf("%s and back: %v", path, err)
			}
			want, _ := os.ReadFile(original)
			got, err := os.ReadFile(back)
			if err != nil || !bytes.Equal(got, want) || done.Read != int64(len(want)) {
				t.Errorf("%s of %v through %v: %d bytes that differ from %d, %v", path, h.Type, through[h.Type], len(got), len(want), err)
			}
		}
	}
}

func TestConversionOfAFileTellsEachLoss(t *testing.T) {
	h := Header{Type: schema.ScalarDouble, PV: "PV", Year: 2023}
	path := partitionOf(t, h, doubleEvents(1, 2.5, 3, 1e10)...)
	var told []string
	note := func(l *Loss) { told = append(told, strings.TrimPrefix(l.Error(), path+" ")) }
	done, err := Convert(context.Background(), OSFS{}, path, "", "PV", schema.Conversion{To: schema.ScalarInt}, note)
	want := []string{
		"line 3 (2023-01-01T00:00:02Z): 2.5 cannot be converted without loss to DBR_SCALAR_INT",
		"line 5 (2023-01-01T00:00:04Z): 10000000000 cannot be converted without loss to DBR_SCALAR_INT",
	}
	if err != nil || done.Samples != 4 || done.Lost != 2 || strings.Join(told, "\n") != strings.Join(want, "\n") {
		t.Errorf("%+v, %v, told %q", done, err, told)
	}
	target := filepath.Join(t.TempDir(), "new.pb")
	_, err = Convert(context.Background(), OSFS{}, path, target, "PV", schema.Conversion{To: schema.ScalarInt}, nil)
	if loss, ok := errors.AsType[*Loss](err); !ok || loss.Line != 3 || !errors.Is(err, schema.ErrLoss) {
		t.Errorf("written without lossy: %v", err)
	}
	target += "2"
	done, err = Convert(context.Background(), OSFS{}, path, target, "PV", schema.Conversion{To: schema.ScalarInt, Lossy: true}, nil)
	if err != nil || done.Samples != 4 || done.Lost != 2 {
		t.Fatalf("lossy: %+v, %v", done, err)
	}
	r, err := Open(target)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	for _, v := range []int32{1, 2, 3, 2147483647} {
		line, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if s, err := schema.DecodeSample(schema.ScalarInt, 2023, line.Event); err != nil || s.Value != v {
			t.Errorf("%v, %v; want %d", s.Value, err, v)
		}
	}
}

func TestConversionOfAFileThatIsNotFit(t *testing.T) {
	ctx := context.Background()
	h := Header{Type: schema.ScalarDouble, PV: "PV", Year: 2023}
	intoInt := schema.Conversion{To: schema.ScalarInt}
	damaged := partitionOf(t, h, doubleEvents(1, 2, 3)...)
	b, _ := os.ReadFile(damaged)
	lines := bytes.SplitAfter(b, []byte("\n"))
	if err := os.WriteFile(damaged, bytes.Join([][]byte{lines[0], lines[1], []byte("garbage\n"), lines[2]}, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Convert(ctx, OSFS{}, damaged, "", "PV", intoInt, nil); schema.CodeOf(err) != schema.Conflict || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("a damaged line: %v", err)
	}
	if _, err := Convert(ctx, OSFS{}, damaged, "", "OTHER", intoInt, nil); schema.CodeOf(err) != schema.Conflict {
		t.Errorf("a file of another PV: %v", err)
	}
	if _, err := Convert(ctx, OSFS{}, damaged, "", "PV", schema.Conversion{To: schema.V4GenericBytes}, nil); schema.CodeOf(err) != schema.Invalid {
		t.Errorf("into V4 bytes: %v", err)
	}
	torn := partitionOf(t, h, doubleEvents(1, 2)...)
	f, _ := os.OpenFile(torn, os.O_APPEND|os.O_WRONLY, 0)
	_, _ = f.WriteString("torn")
	_ = f.Close()
	size, _ := os.Stat(torn)
	done, err := Convert(ctx, OSFS{}, torn, "", "PV", intoInt, nil)
	if err != nil || done.Samples != 2 || done.Read != size.Size()-4 {
		t.Errorf("a torn end: %+v, %v", done, err)
	}
	same := filepath.Join(t.TempDir(), "same")
	done, err = Convert(ctx, OSFS{}, torn, same, "PV", schema.Conversion{To: schema.ScalarDouble}, nil)
	if _, absent := os.Stat(same); err != nil || done.From != schema.ScalarDouble || !os.IsNotExist(absent) {
		t.Errorf("a file of the type: %+v, %v, %v", done, err, absent)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := Convert(ended, OSFS{}, torn, "", "PV", intoInt, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("ended: %v", err)
	}
}

// TestConversionReportsEveryFault lets each operation on the new file fail.
func TestConversionReportsEveryFault(t *testing.T) {
	path := partitionOf(t, Header{Type: schema.ScalarDouble, PV: "PV", Year: 2023}, doubleEvents(1, 2, 3)...)
	for _, op := range []Op{OpOpen, OpWrite, OpSync} {
		ffs := NewFaultFS(OSFS{})
		ffs.Fail(Fault{Op: op, Err: syscall.EIO})
		_, err := Convert(context.Background(), ffs, path, filepath.Join(t.TempDir(), "new.pb"), "PV", schema.Conversion{To: schema.ScalarInt}, nil)
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", op, err)
		}
	}
}
