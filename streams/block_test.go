package streams

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestBlocksAreReadAsTheServerWritesThem reads what the server of this build
// has written, to the last byte: a server with another format fails here.
func TestBlocksAreReadAsTheServerWritesThem(t *testing.T) {
	l := openLog(t, Options{})
	fillLog(t, l, 100)
	want := content(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for stream, messages := range want {
		files, err := filepath.Glob(filepath.Join(l.streamDir(stream), "msgs/*.blk"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %q, %v", stream, files, err)
		}
		n := uint64(0)
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			index, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(f), ".blk"))
			if err != nil {
				t.Fatal(err)
			}
			found := scanBlock(stream, index, b)
			if len(found.torn) != 0 || !bytes.Equal(found.mended(b), b) {
				t.Errorf("%s: damage in %s: %+v", stream, f, found.torn)
			}
			for _, s := range found.held {
				n += s.To - s.From + 1
			}
		}
		if n != uint64(len(messages)) {
			t.Errorf("%s: %d messages in the files, %d are given", stream, n, len(messages))
		}
		if !metaWhole(l.streamDir(stream), stream) {
			t.Errorf("%s: the checksum of its description is not what the server makes of it", stream)
		}
	}
}

// TestTheArchivesFloorIsNeverAboveTheNotedOne lets the consumer's state, which
// has no checksum, claim more than was acknowledged.
func TestTheArchivesFloorIsNeverAboveTheNotedOne(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, Options{Dir: dir})
	store(t, l, 0, 20)
	fetchSamples(t, l.Archive(), 20, true)
	floor := l.Archive().Floor()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	replaceIn(t, filepath.Join(dir, "ledger.json"), `"floor": `+strconv.FormatUint(floor, 10), `"floor": 7`)
	l = openLog(t, Options{Dir: dir})
	if f := consumerFloor(t, l); f != 7 {
		t.Errorf("the floor is %d, 7 was noted", f)
	}
	if messages := fetchSamples(t, l.Archive(), 13, false); messages[0].Seq != 8 {
		t.Errorf("message %d comes first", messages[0].Seq)
	}
}

// FuzzScanBlock reads anything: every byte is either in a good record or in
// what is damaged, and what is kept reads as whole.
func FuzzScanBlock(f *testing.F) {
	whole := appendTombstone(nil, SamplesStream, 3, 17, time.Unix(1, 2))
	f.Add(whole)
	f.Add(append(append([]byte("samples.A.B"), whole...), "\x09\x00samples.A"...))
	f.Add(make([]byte, 100))
	f.Fuzz(func(t *testing.T, b []byte) {
		found := scanBlock(SamplesStream, 3, b)
		n := 0
		for _, x := range found.torn {
			if x.end <= x.offset || x.end > len(b) {
				t.Fatalf("damage from %d to %d of %d", x.offset, x.end, len(b))
			}
			n += x.end - x.offset
		}
		for _, g := range found.good {
			n += g[1] - g[0]
		}
		if n != len(b) {
			t.Errorf("%d of %d bytes are accounted for", n, len(b))
		}
		if again := scanBlock(SamplesStream, 3, found.mended(b)); len(again.torn) != 0 {
			t.Errorf("what was mended is damaged: %+v", again.torn)
		}
	})
}
