package registry

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"pvlog/schema"
)

// someRecords have every field set, or as few as there can be.
func someRecords() map[string]record {
	yes := true
	at := time.Unix(1_700_000_000, 123).UTC()
	full := &schema.TypeInfo{
		PV: "F:1", State: schema.Paused, AliasOf: "F:2", DBRType: schema.WaveformDouble, ElementCount: 1000,
		Settings: schema.Settings{
			SamplingMethod: schema.Scan, SamplingPeriod: 1500 * time.Millisecond, Policy: "slow", ControllingPV: "F:GATE",
			Stores: []string{"pb://one", "pb://two"}, ArchiveFields: []string{"EGU", "HIHI"}, Deadband: 0.25,
			DriftPast: time.Minute, DriftFuture: time.Hour, RateEvents: 100, RateBytes: 1 << 33,
		},
		AskedSampling: true, AskedPolicy: "slow", SkipAliasCheck: true, ChunkKey: "F/1:", Host: "10.0.0.1:5064", Units: "mm/µs", Precision: -3,
		Limits: map[string]float64{"HIHI": math.Inf(1), "LOLO": -1.5, "LOPR": 0}, Fields: map[string]string{"RTYP": "ai", "DESC": "", "": "x"},
		Created: at, Modified: at.Add(time.Hour), Expires: at.Add(time.Minute), Generation: 7, Sequence: 9,
	}
	change := &Change{ID: "20261125T083015-k3x9q7", Command: "archive", Actor: "op", PVs: 5, Opened: 3, Time: at, Closed: 9, Changed: 4, Failed: 1}
	least := &schema.TypeInfo{PV: "F:1", State: schema.Archiving, DBRType: schema.UnknownType, Created: at, Modified: at}
	return map[string]record{
		"empty":   {},
		"deleted": {Sequence: 12, Requested: 3, Generations: []Generation{{3, schema.UnknownType}, {4, schema.ScalarString}}},
		"full":    {Sequence: math.MaxUint64, Requested: 1, Info: full, Generations: []Generation{{1, schema.WaveformDouble}}, Change: change, Flag: &yes},
		"least":   {Sequence: 1, Info: least},
		"flag":    {Sequence: 1, Flag: new(bool)},
	}
}

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	for name, rec := range someRecords() {
		b, err := rec.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := newDecoder().record("F:1", b)
		if err != nil || !reflect.DeepEqual(got, rec) {
			t.Errorf("%s: %v\n%+v\n%+v", name, err, got, rec)
		}
		for cut := range len(b) {
			if got, err := newDecoder().record("F:1", b[:cut]); err == nil && reflect.DeepEqual(got, rec) {
				t.Errorf("%s: the first %d of %d bytes say as much", name, cut, len(b))
			}
		}
	}
}

// A TypeInfo that gets a new field must not lose it in Badger.
func TestEveryFieldIsKept(t *testing.T) {
	info := *someRecords()["full"].Info
	v := reflect.ValueOf(info)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("TypeInfo.%s is not set in someRecords: let encode and decode know it", v.Type().Field(i).Name)
		}
	}
	for i, s := 0, reflect.ValueOf(info.Settings); i < s.NumField(); i++ {
		if s.Field(i).IsZero() {
			t.Errorf("Settings.%s is not set in someRecords: let encode and decode know it", s.Type().Field(i).Name)
		}
	}
}

// What cannot be kept, or would take too much room, is told.
func TestProblemsOfRecords(t *testing.T) {
	info := func(change func(*schema.TypeInfo)) record {
		i := *someRecords()["least"].Info
		change(&i)
		return record{Info: &i}
	}
	for name, tt := range map[string]struct {
		rec  record
		want string
	}{
		"usual":     {someRecords()["full"], ""},
		"NaN":       {info(func(i *schema.TypeInfo) { i.Deadband = math.NaN() }), "deadband"},
		"infinite":  {info(func(i *schema.TypeInfo) { i.Deadband = math.Inf(-1) }), "deadband"},
		"just fits": {info(func(i *schema.TypeInfo) { i.Policy = strings.Repeat("x", maxRecordBytes-300) }), ""},
		"too long":  {info(func(i *schema.TypeInfo) { i.Policy = strings.Repeat("x", maxRecordBytes) }), fmt.Sprint(maxRecordBytes)},
		"many fields": {info(func(i *schema.TypeInfo) {
			i.Fields = map[string]string{}
			for n := range maxRecordBytes / 10 {
				i.Fields[fmt.Sprint(n)] = "x"
			}
		}), "bytes"},
	} {
		if got := tt.rec.problem(); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
