package integration

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
)

// typeLine is what epics/dbr.py tells of one PV as one DBR type.
type typeLine struct {
	PV        string
	Type      ca.DBR
	Status    uint32
	Count     uint32
	Value     []byte
	Alarm     []int16
	Stamp     []uint32
	Units     []byte
	Precision int
	Limits    []string
	Labels    [][]byte
}

// TestEpicsRow05AllTypesAndClasses reads a PV of each native type as each of
// the 35 DBR types, and compares with what libca reads.
func TestEpicsRow05AllTypesAndClasses(t *testing.T) {
	ioc := newMatrixIOC(t, nil)
	names := []string{
		matrixPrefix + "string", matrixPrefix + "short", matrixPrefix + "float", matrixPrefix + "enum",
		matrixPrefix + "char", matrixPrefix + "long", matrixPrefix + "double",
		matrixPrefix + "never", matrixPrefix + "alias.DESC", matrixPrefix + "alias.PREC",
	}
	client := newMatrixClient(t, caclient.Options{}, ioc.addr())
	channels := map[string]*caclient.Channel{}
	natives := map[ca.DBR]bool{}
	for _, name := range names {
		w, ch := client.watch(name)
		channels[name] = ch
		natives[await(t, w.connected, "connection of "+name).Native] = true
	}
	if len(natives) != 7 {
		t.Fatalf("the records have the native types %v", natives)
	}
	read := 0
	for _, line := range libcaReads(t, ioc, names) {
		info, _ := channels[line.PV].Info()
		u, err := channels[line.PV].Get(t.Context(), line.Type, info.Count)
		var refused *caclient.StatusError
		if errors.As(err, &refused) && refused.Status == line.Status {
			continue // both cannot
		}
		if err != nil || line.Status != ca.StatusNormal {
			t.Errorf("%s as %v: %v, libca has status %d", line.PV, line.Type, err, line.Status)
			continue
		}
		read++
		if err := compareTypes(line, u); err != nil {
			t.Errorf("%s as %v: %v", line.PV, line.Type, err)
		}
	}
	if read < 300 {
		t.Errorf("only %d reads succeeded", read)
	}
}

// libcaReads has libca read PVs as all types.
func libcaReads(t *testing.T, ioc *matrixIOC, names []string) []typeLine {
	t.Helper()
	cmd := exec.Command(ioc.python, append([]string{filepath.Join("epics", "dbr.py")}, names...)...)
	var stderr bytes.Buffer
	cmd.Env = append(cleanEnvironment(), "EPICS_CA_ADDR_LIST="+ioc.addr(), "EPICS_CA_AUTO_ADDR_LIST=NO")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("libca: %v\n%s", err, stderr.Bytes())
	}
	var lines []typeLine
	for text := range bytes.Lines(out) {
		var line typeLine
		if err := json.Unmarshal(text, &line); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		lines = append(lines, line)
	}
	if len(lines) != 35*len(names) {
		t.Fatalf("libca gave %d answers for %d PVs", len(lines), len(names))
	}
	return lines
}

// compareTypes requires that an answer says what libca read.
func compareTypes(line typeLine, u caclient.Update) error {
	if u.Type != line.Type || u.Count != line.Count {
		return fmt.Errorf("%d elements of %v, libca has %d", u.Count, u.Type, line.Count)
	}
	values := bytes.Clone(u.Payload[u.Type.ValueOffset():u.Type.Size(u.Count)])
	if size := u.Type.ElementSize(); size < ca.MaxStringSize {
		for element := range slices.Chunk(values, size) {
			slices.Reverse(element)
		}
	}
	if u.Type.Native() == ca.DBRString { // libca leaves behind the NUL what was there
		values, line.Value = cutStrings(values), cutStrings(line.Value)
	}
	if !bytes.Equal(values, line.Value) {
		return fmt.Errorf("got %x, libca has %x", values, line.Value)
	}
	if line.Alarm != nil {
		alarm := []int16{int16(binary.BigEndian.Uint16(u.Payload)), int16(binary.BigEndian.Uint16(u.Payload[2:]))}
		if !slices.Equal(alarm, line.Alarm) {
			return fmt.Errorf("alarm %v, libca has %v", alarm, line.Alarm)
		}
	}
	if line.Stamp != nil {
		stamp := []uint32{binary.BigEndian.Uint32(u.Payload[4:]), binary.BigEndian.Uint32(u.Payload[8:])}
		if !slices.Equal(stamp, line.Stamp) {
			return fmt.Errorf("stamp %v, libca has %v", stamp, line.Stamp)
		}
	}
	if class := u.Type.Class(); class == ca.GR || class == ca.CTRL {
		return compareProperties(line, u)
	}
	return nil
}

func cutStrings(b []byte) []byte {
	var all []byte
	for element := range slices.Chunk(b, ca.MaxStringSize) {
		text, _, _ := bytes.Cut(element, []byte{0})
		all = append(append(all, text...), 0)
	}
	return all
}

func compareProperties(line typeLine, u caclient.Update) error {
	m, err := ca.DecodeCtrl(u.Type, u.Count, u.Payload)
	if err != nil {
		return err
	}
	var labels []string
	for _, label := range line.Labels {
		labels = append(labels, caString(label))
	}
	if m.Units != caString(line.Units) || m.Precision != line.Precision || !slices.Equal(m.EnumStrings, labels) {
		return fmt.Errorf("got %+v, libca has %q %d %q", m, line.Units, line.Precision, labels)
	}
	if len(m.Limits) != len(line.Limits) {
		return fmt.Errorf("%d limits, libca has %d", len(m.Limits), len(line.Limits))
	}
	// the order of db_access.h
	for i, text := range line.Limits {
		name := []string{"HOPR", "LOPR", "HIHI", "HIGH", "LOW", "LOLO", "DRVH", "DRVL"}[i]
		want, err := strconv.ParseFloat(text, 64)
		if got := m.Limits[name]; err != nil || got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			return fmt.Errorf("%s is %v, libca has %s", name, got, text)
		}
	}
	return nil
}
