package archive

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"pvlog/consumers/filter"
	"pvlog/consumers/partition"
	"pvlog/schema"
)

// The tallies' file is text: a line that names its version, then one block for
// each round. A block is a line for each PV that the round has changed, with its
// counters and its name at the end, and a line that tells the acknowledged
// sequence, the number of the lines and the checksum of the block up to there.
// The counters are the time of the registration, the samples stored, the time
// of the newest of them, the duplicates and the drops.
//
//	1732433190000000000 1200 1764060000 500000000 3 order=2,type=1 LINAC:BPM1
//	round 4711 1 1a2b3c4d
//
// Counters are whole numbers and not differences, so the newest line of a PV is
// what counts, and a block that is torn or damaged costs one round. The file is
// written anew, and durably, when most of it is old; a round's block is not made
// durable by itself: a power cut may cost what was counted last.
const (
	tallyName       = "archive.counters"
	tallyVersion    = "pvlog archive counters 1\n"
	tallyRound      = "round "
	tallyFileMin    = 1 << 20
	tallyFileGrowth = 3
	tallyLineMax    = 64 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errTallyFile = errors.New("not a file of counters")

// appendTallies adds a block.
func appendTallies(b []byte, list []*tally, seq uint64) []byte {
	start := len(b)
	for _, t := range list {
		b = strconv.AppendInt(b, t.created, 10)
		b = strconv.AppendUint(append(b, ' '), t.stored, 10)
		b = strconv.AppendInt(append(b, ' '), t.last.Sec, 10)
		b = strconv.AppendUint(append(b, ' '), uint64(t.last.Nsec), 10)
		b = strconv.AppendUint(append(b, ' '), t.duplicate, 10)
		b = appendDrops(append(b, ' '), t.drops)
		b = append(append(append(b, ' '), t.pv...), '\n')
	}
	b = fmt.Appendf(b, "%s%d %d ", tallyRound, seq, len(list))
	return fmt.Appendf(b, "%08x\n", crc32.Checksum(b[start:], castagnoli))
}

// appendDrops adds "reason=n,reason=n", or "-".
func appendDrops(b []byte, drops map[filter.Reason]uint64) []byte {
	n := len(b)
	for reason, count := range drops {
		if len(b) > n {
			b = append(b, ',')
		}
		b = append(append(b, reason...), '=')
		b = strconv.AppendUint(b, count, 10)
	}
	if len(b) == n {
		b = append(b, '-')
	}
	return b
}

// replaceTallies makes the file of one block, or leaves the one that was.
func replaceTallies(fsys partition.FS, path string, block []byte) (int64, error) {
	content := append([]byte(tallyVersion), block...)
	err := partition.Replace(fsys, path, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("replace counters: %w", err)
	}
	return int64(len(content)), nil
}

// appendToFile adds a block at the end of what is known to be whole.
func appendToFile(fsys partition.FS, path string, block []byte, at int64) (int64, error) {
	f, err := fsys.OpenFile(path, os.O_WRONLY, 0o644)
	if err != nil {
		return 0, fmt.Errorf("open counters: %w", err)
	}
	_, err = f.WriteAt(block, at)
	if err := errors.Join(err, f.Close()); err != nil {
		return 0, fmt.Errorf("append counters: %w", err)
	}
	return int64(len(block)), nil
}

// readTallies gives the tallies of all whole blocks before the first that is
// not, the newest sequence and the length of that part; nothing if there is no
// file.
func readTallies(path string) (list []*tally, seq uint64, size int64, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, 0, nil
	}
	if err != nil {
		return nil, 0, 0, fmt.Errorf("read counters: %w", err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, tallyLineMax)
	version, err := r.ReadSlice('\n')
	if err != nil || string(version) != tallyVersion {
		return nil, 0, 0, fmt.Errorf("%w: it does not begin with %q", errTallyFile, tallyVersion)
	}
	size = int64(len(version))
	byPV := map[schema.PVName]*tally{}
	for {
		block, at, n, err := readTallyBlock(r)
		if errors.Is(err, io.EOF) || errors.Is(err, errTallyFile) {
			break
		}
		if err != nil {
			return nil, 0, 0, fmt.Errorf("read counters: %w", err)
		}
		for _, t := range block {
			byPV[t.pv] = t
		}
		seq, size = at, size+n
	}
	for _, t := range byPV {
		list = append(list, t)
	}
	slices.SortFunc(list, func(t, u *tally) int { return strings.Compare(string(t.pv), string(u.pv)) })
	return list, seq, size, nil
}

// readTallyBlock reads up to the line that ends a round: errTallyFile if it is
// not whole.
func readTallyBlock(r *bufio.Reader) (list []*tally, seq uint64, n int64, err error) {
	var sum uint32
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, 0, 0, fmt.Errorf("%w: a line has no end", errTallyFile)
		}
		if err != nil {
			return nil, 0, 0, err // io.EOF: what was begun is torn
		}
		n += int64(len(line))
		if bytes.HasPrefix(line, []byte(tallyRound)) {
			seq, err := roundOf(line, sum, len(list))
			return list, seq, n, err
		}
		t, err := parseTally(string(line[:len(line)-1]))
		if err != nil {
			return nil, 0, 0, err
		}
		sum = crc32.Update(sum, castagnoli, line)
		list = append(list, t)
	}
}

// roundOf reads the last line of a block, of whose other lines the checksum and
// the number are known.
func roundOf(line []byte, sum uint32, lines int) (seq uint64, err error) {
	parts := strings.Split(strings.TrimSuffix(string(line), "\n"), " ")
	if len(parts) != 4 || parts[2] != strconv.Itoa(lines) {
		return 0, fmt.Errorf("%w: a round's end is damaged", errTallyFile)
	}
	sum = crc32.Update(sum, castagnoli, line[:len(line)-len(parts[3])-1])
	if parts[3] != fmt.Sprintf("%08x", sum) {
		return 0, fmt.Errorf("%w: a checksum is wrong", errTallyFile)
	}
	if seq, err = strconv.ParseUint(parts[1], 10, 64); err != nil {
		return 0, fmt.Errorf("%w: %w", errTallyFile, err)
	}
	return seq, nil
}

// parseTally reads a PV's line.
func parseTally(line string) (*tally, error) {
	parts := strings.SplitN(line, " ", 7)
	if len(parts) != 7 || parts[6] == "" {
		return nil, fmt.Errorf("%w: a line lacks numbers or a name", errTallyFile)
	}
	t := &tally{pv: schema.PVName(parts[6])}
	var errs [5]error
	t.created, errs[0] = strconv.ParseInt(parts[0], 10, 64)
	t.stored, errs[1] = strconv.ParseUint(parts[1], 10, 64)
	t.last.Sec, errs[2] = strconv.ParseInt(parts[2], 10, 64)
	nanoseconds, err := strconv.ParseUint(parts[3], 10, 32)
	t.last.Nsec, errs[3] = uint32(nanoseconds), err
	t.duplicate, errs[4] = strconv.ParseUint(parts[4], 10, 64)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("%w: %w", errTallyFile, err)
	}
	if parts[5] == "-" {
		return t, nil
	}
	t.drops = map[filter.Reason]uint64{}
	for part := range strings.SplitSeq(parts[5], ",") {
		reason, number, _ := strings.Cut(part, "=")
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errTallyFile, err)
		}
		t.drops[filter.Reason(reason)] = n
	}
	return t, nil
}
