package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

// recorded is a request to a real Appliance and its answer.
type recorded struct {
	Index     int
	Path      string
	Post      string
	PostCtype string `json:"post_ctype"`
	Status    int
	JSON      any
	Text      string
}

// Answers that must be the Appliance's to the letter; of all others keys,
// kinds of values and status words.
var exact = []int{0, 2, 3, 8, 9, 64, 76, 77, 80, 81, 82, 112, 118, 120, 121, 122, 123, 124, 125, 126, 128, 130, 131, 151, 152, 153, 155, 157, 158}

// Answers whose HTTP status differs on purpose.
var otherStatus = map[int]int{126: 404, 132: 404}

func recordings(t *testing.T) []recorded {
	t.Helper()
	b, err := os.ReadFile("testdata/appliance-bpl.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []recorded
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// applianceFixture has the PVs that the recorded Appliance had.
func applianceFixture(t *testing.T) *fixture {
	event := time.Date(2026, 11, 23, 17, 45, 43, 0, time.UTC)
	f := newFixture(t, func(o *Options) {
		o.DeleteData = func(context.Context, schema.PVName) error { return nil }
		o.Channels = func(pv schema.PVName) (ChannelStatus, bool) {
			return ChannelStatus{State: "connected", Connected: true, LastEvent: event, FirstConnected: event, EventRate: 10.066667, ByteRate: 248.66667}, true
		}
	})
	types := map[string]registry.Discovery{
		"R:WD":   {Type: schema.WaveformDouble, Count: 16, Host: "localhost", Fields: map[string]string{"RTYP": "waveform"}},
		"R:MBBI": {Type: schema.ScalarEnum, Count: 1, Fields: map[string]string{"ENUM_0": "Zero", "ENUM_1": "One", "ENUM_2": "Two", "ENUM_3": "Three", "ENUM_4": `Four "q"`, "RTYP": "mbbi"}},
	}
	for _, v := range recordings(t)[0].JSON.([]any) {
		pv := schema.PVName(v.(string))
		if pv == "R:ALIAS" {
			continue
		}
		if d, ok := types[string(pv)]; ok {
			f.must(f.registry.Archive(context.Background(), actor, registry.Request{PV: pv}))
			d.PV = pv
			f.started(d)
			continue
		}
		f.archive(pv)
	}
	return f
}

func TestAnswersAreShapedAsTheAppliances(t *testing.T) {
	f := applianceFixture(t)
	for _, want := range recordings(t) {
		if want.Index == 8 { // "no:such:pv" was asked for there shortly before
			f.must(f.registry.Archive(context.Background(), actor, registry.Request{PV: "no:such:pv"}))
			f.server.options.Channels = func(schema.PVName) (ChannelStatus, bool) { return ChannelStatus{Connected: true}, true }
		}
		if want.Index == 76 {
			f.forget("no:such:pv")
		}
		method := http.MethodGet
		if want.Post != "" {
			method = http.MethodPost
		}
		resp, text := f.ask(method, "/"+want.Path, want.PostCtype, want.Post)
		status := want.Status
		if s, ok := otherStatus[want.Index]; ok {
			status = s
		}
		if resp.StatusCode != status {
			t.Errorf("%d %s: %d %s, want %d", want.Index, want.Path, resp.StatusCode, text, status)
		}
		if want.JSON == nil {
			if want.Status == 200 && text != strings.ReplaceAll(want.Text, "R:ALIAS\n", "") {
				t.Errorf("%d %s: %q, want %q", want.Index, want.Path, text, want.Text)
			}
			continue
		}
		var got any
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatalf("%d %s: %v in %q", want.Index, want.Path, err, text)
		}
		if slices.Contains(exact, want.Index) {
			same(t, want, got)
			continue
		}
		shaped(t, fmt.Sprintf("%d %s", want.Index, want.Path), got, want.JSON)
	}
}

func (f *fixture) forget(pv schema.PVName) {
	f.must(f.registry.Pause(context.Background(), actor, pv))
	f.must(f.registry.Delete(context.Background(), actor, false, pv))
}

// same compares an answer with the Appliance's; lists of names without its
// aliases, and objects by the keys that it has.
func same(t *testing.T, want recorded, got any) {
	t.Helper()
	if list, ok := want.JSON.([]any); ok && len(list) > 0 {
		if _, ok := list[0].(string); ok {
			if !reflect.DeepEqual(names(got), names(want.JSON)) {
				t.Errorf("%d %s: %v, want %v", want.Index, want.Path, got, want.JSON)
			}
			return
		}
	}
	if m, ok := got.(map[string]any); ok {
		for key := range m {
			if _, known := want.JSON.(map[string]any)[key]; !known && want.Status != 200 {
				delete(m, key)
			}
		}
		delete(m, "error")
		delete(m, "hint")
		delete(m, "code")
	}
	if list, ok := got.([]any); ok {
		for _, item := range list {
			delete(item.(map[string]any), "channelState")
			delete(item.(map[string]any), "eventsDropped")
			for i, w := range want.JSON.([]any) { // moments of the recording
				for _, key := range []string{"lastEvent", "connectionFirstEstablished"} {
					if _, ok := w.(map[string]any)[key]; ok {
						w.(map[string]any)[key] = list[i].(map[string]any)[key]
					}
				}
			}
		}
	}
	if !reflect.DeepEqual(got, want.JSON) {
		t.Errorf("%d %s: %v, want %v", want.Index, want.Path, got, want.JSON)
	}
}

// shaped checks that got has all that want has: keys, kinds of values, and the
// same status words.
func shaped(t *testing.T, where string, got, want any) {
	t.Helper()
	if reflect.TypeOf(got) != reflect.TypeOf(want) {
		t.Errorf("%s: %T %v, want %T", where, got, got, want)
		return
	}
	switch want := want.(type) {
	case map[string]any:
		for key, val := range want {
			mine, ok := got.(map[string]any)[key]
			if !ok {
				t.Errorf("%s: %s is missing", where, key)
			} else if key == "status" && mine != val {
				t.Errorf("%s: status %v, want %v", where, mine, val)
			} else if key != "extraFields" {
				shaped(t, where+" "+key, mine, val)
			}
		}
	case []any:
		if len(want) > 0 && len(got.([]any)) > 0 {
			shaped(t, where+"[0]", got.([]any)[0], want[0])
		}
	}
}

func TestStatusTimesReadAsTheAppliances(t *testing.T) {
	if got := reportTime(time.Time{}); got != "Never" {
		t.Error(got)
	}
	at := time.Date(2026, 11, 23, 17, 45, 43, 0, time.Local)
	zone, _ := at.Zone()
	if got, want := reportTime(at.UTC()), "Nov/23/2026 17:45:43 "+zone; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestTypeInfoTellsWhatIsKnown(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		o.Channels = func(schema.PVName) (ChannelStatus, bool) { return ChannelStatus{EventRate: 10, ByteRate: 240}, true }
	})
	f.archive("R:CNT")
	_, answer := f.get("/mgmt/bpl/getPVTypeInfo?pv=ca://R:CNT.VAL")
	info := answer.(map[string]any)
	for key, want := range map[string]any{
		"pvName": "R:CNT", "DBRType": "DBR_SCALAR_DOUBLE", "scalar": "true", "elementCount": "1", "applianceIdentity": "appliance0",
		"chunkKey": "R/CNT:", "hostName": "localhost:5064", "precision": "3.0", "units": "mA", "upperWarningLimit": "20.0", "upperAlarmLimit": "60.0",
		"computedEventRate": "10.0", "computedStorageRate": "240.0", "computedBytesPerEvent": "24", "paused": "false", "samplingMethod": "MONITOR", "samplingPeriod": "1.0",
		"dataStores": []any{"pb://localhost?name=STS&rootFolder=" + f.store.Root + "&partitionGranularity=PARTITION_HOUR"},
	} {
		if !reflect.DeepEqual(info[key], want) {
			t.Errorf("%s is %v, want %v", key, info[key], want)
		}
	}
}
