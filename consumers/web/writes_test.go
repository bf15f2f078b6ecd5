package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

// wrongChange is a changing request that cannot be done.
type wrongChange struct {
	method, path, body string // path below /mgmt/bpl/
	want               int
	says               string // in error, hint or validation
}

// stated is a PVTypeInfo of NEW with more keys, the later of which count.
func stated(more string) string {
	return `{"pvName":"NEW","DBRType":"DBR_SCALAR_DOUBLE","samplingMethod":"MONITOR","samplingPeriod":"1.0","applianceIdentity":"appliance0"` + more + `}`
}

var wrongChanges = []wrongChange{
	{"GET", "archivePV?pv=C&timelimit=soon", "", 400, "timelimit"},
	{"GET", "archivePV?pv=C&timelimit=-1", "", 400, "seconds"},
	{"GET", "archivePV?pv=C&alias=a%20b", "", 400, "a b"},
	{"GET", "archivePV?pv=C&appliance=elsewhere", "", 400, "appliance0"},
	{"GET", "archivePV?pv=.HIHI", "", 400, "record name"},
	{"GET", "archivePV?pv=pva://C", "", 400, "pva://"},
	{"GET", "abortArchivingPV", "", 400, "pv is missing"},
	{"GET", "abortArchivingPV?pv=a%20b", "", 400, "a b"},
	{"GET", "abortArchivingPV?pv=RUN", "", 200, "\"no\""},
	{"GET", "changeArchivalParameters", "", 400, "pv is missing"},
	{"GET", "changeArchivalParameters?pv=RUN", "", 400, "samplingperiod"},
	{"GET", "changeArchivalParameters?pv=RUN&samplingperiod=x", "", 400, "seconds"},
	{"GET", "changeArchivalParameters?pv=RUN&samplingperiod=0.01", "", 400, "100ms"},
	{"GET", "changeArchivalParameters?pv=RUN&samplingmethod=DELTA", "", 400, "SCAN"},
	{"GET", "changeArchivalParameters?pv=nobody&samplingperiod=1", "", 404, "Unable to change the archival parameters for nobody"},
	{"GET", "modifyMetaFields?pv=PAUSED", "", 400, "command"},
	{"GET", "modifyMetaFields?command=clear", "", 400, "pv is missing"},
	{"GET", "modifyMetaFields?pv=nobody&command=clear", "", 404, "typeinfo"},
	{"GET", "modifyMetaFields?pv=RUN&command=clear", "", 409, "Please pause the pv RUN first"},
	{"GET", "modifyMetaFields?pv=PAUSED&command=drop,HIHI", "", 400, "remove"},
	{"GET", "modifyMetaFields?pv=PAUSED&command=add", "", 400, "add,A,B"},
	{"GET", "modifyMetaFields?pv=PAUSED&command=clear,HIHI", "", 400, "clear"},
	{"GET", "modifyMetaFields?pv=PAUSED&command=add,hihi", "", 400, "capitals"},
	{"GET", "modifyMetaFields?pv=PAUSED&command=add,VAL", "", 400, "the PV itself"},
	{"GET", "modifyMetaFields?pv=PAUSED,RUN&command=clear", "", 400, "one PV"},
	{"GET", "skipAliasCheck", "", 400, "pv is missing"},
	{"GET", "skipAliasCheck?pv=nobody", "", 404, "nobody"},
	{"GET", "addAlias?pv=RUN", "", 400, "aliasname"},
	{"GET", "addAlias?aliasname=X", "", 400, "pv is missing"},
	{"GET", "addAlias?pv=RUN&aliasname=a%20b", "", 400, "a b"},
	{"GET", "addAlias?pv=nobody&aliasname=X", "", 404, "nobody"},
	{"GET", "addAlias?pv=RUN&aliasname=OTHER:A", "", 409, "archived itself"},
	{"GET", "addAlias?pv=RUN&aliasname=NICK", "", 409, "already an alias of PAUSED"},
	{"GET", "removeAlias?pv=RUN", "", 400, "aliasname"},
	{"GET", "removeAlias?pv=RUN&aliasname=NOPE", "", 404, "not an alias"},
	{"GET", "removeAlias?pv=RUN&aliasname=NICK", "", 404, "not an alias of RUN"},
	{"GET", "setNamedFlag?value=true", "", 400, "name"},
	{"GET", "setNamedFlag?name=F", "", 400, "value"},
	{"GET", "setNamedFlag?name=F&value=1", "", 400, "neither true nor false"},
	{"GET", "renamePV?newname=X", "", 400, "pv is missing"},
	{"GET", "renamePV?pv=PAUSED", "", 400, "newname"},
	{"GET", "renamePV?pv=PAUSED&newname=a%20b", "", 400, "a b"},
	{"GET", "renamePV?pv=nobody&newname=X", "", 404, "nobody"},
	{"GET", "renamePV?pv=RUN&newname=X", "", 200, "Need to pause PV before renaming RUN to X"},
	{"GET", "renamePV?pv=PAUSED&newname=RUN", "", 200, "the new name  already exists "},
	{"GET", "renamePV?pv=PAUSED&newname=NICK", "", 200, "already exists"},
	{"GET", "modifyStoreURLForPV?pv=PAUSED&storage=STS", "", 400, "plugin_url"},
	{"GET", "modifyStoreURLForPV?pv=nobody&storage=STS&plugin_url=x", "", 404, "nobody"},
	{"GET", "modifyStoreURLForPV?pv=PAUSED&storage=STS&plugin_url=ftp%3A//x", "", 400, "Cannot parse URL"},
	{"GET", "modifyStoreURLForPV?pv=PAUSED&storage=STS&plugin_url=pb%3A//localhost%3Fname%3DSTS", "", 400, "rootFolder"},
	{"GET", "modifyStoreURLForPV?pv=PAUSED&storage=LTS&plugin_url=" + pluginURL, "", 404, "Cannot find store with name LTS"},
	{"GET", "modifyStoreURLForPV?pv=RUN&storage=STS&plugin_url=" + pluginURL, "", 409, "PV is not paused RUN"},
	{"GET", "putPVTypeInfo?pv=NEW&createnew=true", "", 405, "POST"},
	{"POST", "putPVTypeInfo?createnew=true", stated(""), 400, "pv is missing"},
	{"POST", "putPVTypeInfo?pv=NEW&createnew=perhaps", stated(""), 400, "createnew"},
	{"POST", "putPVTypeInfo?pv=NEW&createnew=true", "", 400, "JSON"},
	{"POST", "putPVTypeInfo?pv=NEW&createnew=true", "[]", 400, "JSON"},
	{"POST", "putPVTypeInfo?pv=NEW&createnew=true", "{}", 400, "pvName"},
	{"POST", "putPVTypeInfo?pv=CLONE&createnew=true", stated(""), 400, "The PV name in the call CLONE does not match the PV name in the typeinfo NEW"},
	{"POST", "putPVTypeInfo?pv=NEW", stated(""), 404, "We do not have a typeinfo for PV NEW but the createnew flag has not been set"},
	{"POST", "putPVTypeInfo?pv=NEW&createnew=true", stated(`,"applianceIdentity":"appliance9"`), 400, "does not match the appliance identity"},
	{"POST", "putPVTypeInfo?pv=NEW&createnew=true", stated(`,"DBRType":"DBR_COMPLEX"`), 400, "not a type"},
	{"POST", "putPVTypeInfo?pv=NEW&createnew=true", stated(`,"elementCount":"-1"`), 400, "elementCount"},
	{"POST", "putPVTypeInfo?pv=NEW&createnew=true", stated(`,"paused":"maybe"`), 400, "paused"},
	{"POST", "putPVTypeInfo?pv=NEW&createnew=true", stated(`,"samplingMethod":"DONT_ARCHIVE"`), 400, "templates"},
	{"POST", "putPVTypeInfo?pv=NEW&createnew=true", stated(`,"usePVAccess":"true"`), 400, "Channel Access only"},
	{"POST", "putPVTypeInfo?pv=NEW&createnew=true", stated(`,"archiveFields":"HIHI"`), 400, "archiveFields"},
	{"POST", "putPVTypeInfo?pv=NEW&createnew=true", stated(`,"archiveFields":["hihi"]`), 400, "capitals"},
	{"POST", "putPVTypeInfo?pv=NEW&createnew=true", stated(`,"extraFields":["x"]`), 400, "extraFields"},
	{"POST", "putPVTypeInfo?pv=NEW&createnew=true", stated(`,"upperAlarmLimit":"high"`), 400, "upperAlarmLimit"},
	{"POST", "putPVTypeInfo?pv=NEW&createnew=true", stated(`,"creationTime":"yesterday"`), 400, "creationTime"},
	{"POST", "putPVTypeInfo?pv=NEW&createnew=true", stated(`,"pvlogState":"asleep"`), 200, "paused"}, // a new one is paused, whatever it states
	{"POST", "putPVTypeInfo?pv=NEW", stated(""), 409, "We already have a typeinfo for PV NEW but the override flag has not been set"},
	{"POST", "putPVTypeInfo?pv=NEW&override=true", stated(`,"DBRType":"DBR_SCALAR_INT"`), 409, "type cannot become"},
	{"POST", "putPVTypeInfo?pv=NICK&createnew=true", strings.ReplaceAll(stated(""), "NEW", "NICK"), 409, "alias of PAUSED"},
	{"POST", "putPVTypeInfo?pv=OTHER-A&createnew=true", strings.ReplaceAll(stated(""), "NEW", "OTHER-A"), 409, "OTHER:A"},
	{"GET", "importConfig", "", 405, "POST"},
	{"POST", "importConfig", "", 400, "JSON array"},
	{"POST", "importConfig", "{}", 400, "JSON array"},
	{"POST", "importConfig", "[1]", 400, "item 0"},
	{"POST", "importConfig", `[{"pvName":"X"`, 400, "item 0"},
	{"POST", "importConfig", `[{"pvName":"X"}`, 400, "JSON array"},
	{"POST", "importConfig", "[" + strings.Repeat(" ", 6000) + "]", 413, "less at once"},
}

// laterChanges are told what is wrong with them, and only then that a part of
// pvlog is missing.
var laterChanges = []struct {
	path string
	want int
	says string
}{
	{"consolidateDataForPV?pv=PAUSED", 400, "storage"},
	{"consolidateDataForPV?pv=nobody&storage=STS", 404, "nobody"},
	{"consolidateDataForPV?pv=RUN&storage=STS", 200, "Cannot consolidate unless PV RUN is paused."},
	{"consolidateDataForPV?pv=PAUSED&storage=LTS", 200, "Cannot find storage with name LTS for pv PAUSED"},
	{"consolidateDataForPV?pv=PAUSED&storage=STS", 501, "between stores"},
	{"changeStore?pv=PAUSED&storage=STS&newbackend=x", 400, "Cannot parse URL"},
	{"changeStore?pv=RUN&storage=STS&newbackend=" + pluginURL, 200, "Need to pause PV before changing type for RUN"},
	{"changeStore?pv=PAUSED&storage=LTS&newbackend=" + pluginURL, 200, "Cannot find storage"},
	{"changeStore?pv=PAUSED&storage=STS&newbackend=" + pluginURL, 501, "rewrite"},
	{"changeTypeForPV?pv=PAUSED", 400, "newtype"},
	{"changeTypeForPV?pv=PAUSED&newtype=NOPE", 400, "not a type"},
	{"changeTypeForPV?pv=PAUSED&newtype=DBR_UNKNOWN", 400, "DBR_SCALAR_DOUBLE"},
	{"changeTypeForPV?pv=nobody&newtype=DBR_SCALAR_INT", 404, "nobody"},
	{"changeTypeForPV?pv=RUN&newtype=DBR_SCALAR_INT", 200, "Need to pause PV before changing type for RUN"},
	{"changeTypeForPV?pv=PAUSED&newtype=DBR_SCALAR_DOUBLE", 200, `"ok"`},
	{"changeTypeForPV?pv=PAUSED&newtype=DBR_SCALAR_INT", 503, "cannot convert data"},
	{"appendAndAliasPV?olderpv=PAUSED&newerpv=RUN", 400, "storage"},
	{"appendAndAliasPV?olderpv=PAUSED&newerpv=nobody&storage=STS", 404, "nobody"},
	{"appendAndAliasPV?olderpv=PAUSED&newerpv=RUN&storage=STS", 200, "Cannot append unless PV RUN is paused."},
	{"appendAndAliasPV?olderpv=PAUSED&newerpv=NICK&storage=STS", 400, "itself"},
	{"mergeInData?pv=PAUSED&storage=STS", 400, "other"},
	{"mergeInData?pv=RUN&storage=STS&other=http%3A//x", 200, "Need to pause"},
	{"mergeInData?pv=PAUSED&storage=STS&other=http%3A//x", 503, "cannot merge data"},
	{"mergeInData?pv=PAUSED&storage=LTS&other=http%3A//x", 200, "Cannot find storage with name LTS"},
	{"mergeInData?pv=PAUSED&storage=STS&other=file%3A///etc/passwd", 400, "no address of an archiver"},
	{"mergeInData?pv=PAUSED&storage=STS&other=http%3A//x&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", 400, "before start"},
	{"mergeInData?pv=PAUSED&storage=STS&other=http%3A//x&from=soon", 400, "soon"},
	{"importDataFromPlugin?pv=PAUSED&from=x&to=y&src=a&dest=STS", 400, "ISO 8601"},
	{"importDataFromPlugin?pv=PAUSED&from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&src=a&dest=LTS", 404, "Unable to find storage plugin"},
	{"importDataFromPlugin?pv=PAUSED&from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&src=a&dest=STS", 501, "other archivers"},
	{"reshardPV?pv=PAUSED&storage=STS&appliance=appliance0", 400, "same appliance"},
	{"reshardPV?pv=PAUSED&storage=STS&appliance=other", 501, "one appliance"},
	{"reassignAppliance?pv=nobody&appliance=other", 404, "nobody"},
	{"uploadChannelArchiverConfiguration", 501, "external archivers"},
	{"addExternalArchiverServer?externalarchiverserverurl=x", 501, "external archivers"},
	{"restartArchivePVWorkflowThreadForThisAppliance", 501, "workflow"},
}

// TestWrongChangesAreToldWhatToDo asks each changing request for what it cannot
// do: the answer is JSON that says what and what to do instead, or the
// Appliance's validation, and the registry is as before.
func TestWrongChangesAreToldWhatToDo(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		o.MaxImport = 5000
		o.CopyData = func(context.Context, schema.PVName, schema.PVName, func() error) error {
			t.Error("data were copied")
			return nil
		}
	})
	f.archive("RUN", "PAUSED", "OTHER:A")
	f.must(f.registry.Pause(context.Background(), actor, "PAUSED"))
	f.must(f.registry.AddAlias(context.Background(), actor, registry.Alias{Alias: "NICK", PV: "PAUSED"}))
	before := len(f.log.events)
	cases := slices.Clone(wrongChanges)
	for _, later := range laterChanges {
		cases = append(cases, wrongChange{"GET", later.path, "", later.want, later.says})
	}
	for _, c := range cases {
		resp, text := f.ask(c.method, "/mgmt/bpl/"+c.path, "", c.body)
		if resp.StatusCode != c.want {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.path, resp.StatusCode, text, c.want)
		}
		var body struct{ Error, Code, Hint, Validation string }
		err := json.Unmarshal([]byte(text), &body)
		if err != nil || c.want != 200 && (body.Error == "" || body.Hint == "" || body.Code == "") {
			t.Errorf("%s %s: %s: %v", c.method, c.path, text, err)
		}
		if !strings.Contains(strings.ReplaceAll(text, `\"`, `"`), c.says) {
			t.Errorf("%s %s: %s does not say %q", c.method, c.path, text, c.says)
		}
	}
	if got := len(f.log.events) - before; got != 1 { // that of NEW
		t.Errorf("wrong requests made %d events", got-1)
	}
}

// pluginURL is a store of the Appliance, percent-encoded.
const pluginURL = "pb%3A//localhost%3Fname%3DSTS%26rootFolder%3D/data/sts%26partitionGranularity%3DPARTITION_DAY"

func TestChangesAnswerAsTheAppliance(t *testing.T) {
	f := newFixture(t)
	f.archive("R:CNT", "R:AI", "R:LI")
	f.must(f.registry.Pause(context.Background(), actor, "R:LI"))
	f.must(f.registry.Archive(context.Background(), actor, registry.Request{PV: "new:three"}, registry.Request{PV: "new:four"}))
	for _, c := range []struct{ path, want string }{
		{"changeArchivalParameters?pv=R:CNT&samplingperiod=5&samplingmethod=SCAN", `{"status":"ok","desc":"Successfully changed the archival parameters for R:CNT"}`},
		{"changeArchivalParameters?pv=R:CNT&samplingperiod=0.1", `{"status":"ok","desc":"Successfully changed the archival parameters for R:CNT"}`},
		{"addAlias?pv=R:CNT&aliasname=R:NICK", `{"status":"ok","desc":"Added an alias R:NICK for PV R:CNT"}`},
		{"addAlias?pv=R:CNT&aliasname=R:NICK", `{"status":"ok","desc":"Added an alias R:NICK for PV R:CNT"}`},
		{"changeArchivalParameters?pv=R:NICK,never:asked&samplingperiod=2", `[{"status":"ok","desc":"Successfully changed the archival parameters for R:NICK","pvName":"R:NICK"},{"pvName":"never:asked","validation":"Unable to change the archival parameters for never:asked"}]`},
		{"removeAlias?pv=R:CNT&aliasname=R:NICK", `{"status":"ok","desc":"Removed an alias R:NICK for PV R:CNT"}`},
		{"skipAliasCheck?pv=R:CNT", `{"pvName":"R:CNT","status":"ok"}`},
		{"setNamedFlag?name=TEST&value=true", `{"status":"ok"}`},
		{"modifyMetaFields?pv=R:LI&command=add,HIHI,LOLO,DRVH&command=remove,LOLO", `{"pvName":"R:LI","fields":"DRVH,HIHI"}`},
		{"modifyMetaFields?pv=R:LI&command=clear", `{"pvName":"R:LI","fields":""}`},
		{"modifyMetaFields?pv=R:LI&command=clear&command=add,EGU", `{"pvName":"R:LI","fields":"EGU"}`},
		{"abortArchivingPV?pv=new:three", `{"status":"ok","desc":"Aborted request for archiving PV new:three"}`},
		{"abortArchivingPV?pv=never:asked", `{"status":"no","desc":"Aborted request for archiving PV never:asked"}`},
		{"abortArchivingPV?pv=new:four,R:CNT", `[{"pvName":"new:four","status":"ok","desc":"Aborted request for archiving PV new:four"},{"pvName":"R:CNT","status":"no","desc":"Aborted request for archiving PV R:CNT"}]`},
		{"deletePV?pv=R:LI,R:CNT", `{"validation":"\nWe will not stop archiving PV R:CNT if it is not paused. Please pause recording first.\n"}`},
	} {
		status, got := f.get("/mgmt/bpl/" + c.path)
		var want any
		if err := json.Unmarshal([]byte(c.want), &want); err != nil {
			t.Fatal(err)
		}
		if status != 200 || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %d %v, want %v", c.path, status, got, want)
		}
	}
	info, _ := f.registry.Get("R:CNT")
	if info.SamplingMethod != schema.Scan || info.SamplingPeriod != 2*time.Second || !info.SkipAliasCheck || !f.registry.Flags()["TEST"] {
		t.Errorf("%+v, flags %v", info, f.registry.Flags())
	}
	if got := f.registry.Match("*", 0); !slices.Equal(got, []schema.PVName{"R:AI", "R:CNT"}) {
		t.Errorf("left are %v", got)
	}
	last := f.log.events[len(f.log.events)-1]
	if last.GetActor() != "http" || !strings.HasPrefix(last.GetSource(), "127.0.0.1:") {
		t.Errorf("who did it is not on record: %v", last)
	}
}

// TestAFieldIsArchivedWithItsPV asks for standard fields of a PV that is not
// registered, of one that is, and for another field, which is a PV of its own.
func TestAFieldIsArchivedWithItsPV(t *testing.T) {
	f := newFixture(t)
	f.archive("OLD")
	_, answer := f.get("/mgmt/bpl/archivePV?pv=OLD.HIHI,NEW.HIGH,NEW.LOW,NEW,OLD.EGU,OLD.LOLO")
	var words []string
	for _, item := range answer.([]any) {
		words = append(words, item.(map[string]any)["pvName"].(string)+" "+item.(map[string]any)["status"].(string))
	}
	const submitted, already = " Archive request submitted", " Already submitted"
	if want := []string{"OLD.HIHI" + already, "NEW.HIGH" + submitted, "NEW.LOW" + submitted, "NEW" + submitted, "OLD.EGU" + submitted, "OLD.LOLO" + already}; !slices.Equal(words, want) {
		t.Errorf("%v, want %v", words, want)
	}
	for pv, want := range map[schema.PVName][]string{"OLD": {"HIHI", "LOLO"}, "NEW": {"HIGH", "LOW"}, "OLD.EGU": nil} {
		if info, ok := f.registry.Get(pv); !ok || !slices.Equal(info.ArchiveFields, want) {
			t.Errorf("%s: %v, want %v", pv, info, want)
		}
	}
	if _, own := f.registry.Get("NEW.HIGH"); own {
		t.Error("a standard field became a PV of its own")
	}
}

func TestArchiveWithAliasTimeLimitAndShortPeriod(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.TimeLimit = time.Hour })
	f.archive("OLD", "TAKEN")
	resp, text := f.ask("POST", "/mgmt/bpl/archivePV", "application/json",
		`[{"pv":"A","alias":"A:NICK","timelimit":60,"samplingperiod":"0.01","appliance":"appliance0"},{"pv":"OLD","alias":"OLD:NICK"},{"pv":"B","alias":"TAKEN"},{"pv":"C","timelimit":0},{"pv":"D","appliance":"x"}]`)
	var got []struct{ PVName, Status, Validation string }
	if err := json.Unmarshal([]byte(text), &got); err != nil || resp.StatusCode != 200 || len(got) != 5 {
		t.Fatal(resp.StatusCode, text, err)
	}
	for i, says := range []string{"raised from 10ms", "", "the alias was not added: PV TAKEN is being archived itself", "", "no appliance"} {
		if status := got[i].Status; (status == "Exception occured") != (i == 4) || says == "" && got[i].Validation != "" || !strings.Contains(got[i].Validation, says) {
			t.Errorf("%+v, want %q", got[i], says)
		}
	}
	if got[1].Status != "Already submitted" {
		t.Errorf("%+v", got[1])
	}
	if got := fmt.Sprint(f.registry.Aliases()); got != "[{A:NICK A} {OLD:NICK OLD}]" {
		t.Error(got)
	}
	for pv, want := range map[schema.PVName]time.Duration{"A": time.Minute, "B": time.Hour, "C": 0} {
		info, _ := f.registry.Get(pv)
		if info.Expires.IsZero() != (want == 0) || want > 0 && (time.Until(info.Expires) > want || time.Until(info.Expires) < want-30*time.Second) {
			t.Errorf("%s is given up at %v, want in %v", pv, info.Expires, want)
		}
	}
	if info, _ := f.registry.Get("A"); info.SamplingPeriod != 100*time.Millisecond || !info.AskedSampling {
		t.Errorf("%+v", info)
	}
}

// TestDeletingByAnAliasDeletesThePVsData names a PV by an alias: the files are
// those of the PV.
func TestDeletingByAnAliasDeletesThePVsData(t *testing.T) {
	var deleted []schema.PVName
	f := newFixture(t, func(o *Options) {
		o.DeleteData = func(_ context.Context, pv schema.PVName) error { deleted = append(deleted, pv); return nil }
	})
	f.archive("A")
	f.must(f.registry.AddAlias(context.Background(), actor, registry.Alias{Alias: "NICK", PV: "A"}))
	f.get("/mgmt/bpl/pauseArchivingPV?pv=NICK")
	if _, answer := f.get("/mgmt/bpl/deletePV?pv=NICK&deleteData=true"); answer.(map[string]any)["status"] != "ok" || !slices.Equal(deleted, []schema.PVName{"A"}) {
		t.Error(answer, deleted)
	}
	if _, there := f.registry.Get("A"); there {
		t.Error("A is still registered")
	}
}

func TestRenameCopiesThenRegisters(t *testing.T) {
	var f *fixture
	var failure error
	var steps []string
	f = newFixture(t, func(o *Options) {
		o.CopyData = func(_ context.Context, from, to schema.PVName, commit func() error) error {
			if _, known := f.registry.Get(to); known {
				t.Errorf("%s is registered before its data are there", to)
			}
			steps = append(steps, string(from)+" to "+string(to))
			if failure != nil {
				return failure
			}
			return commit()
		}
	})
	f.archive("OLD")
	f.must(f.registry.AddAlias(context.Background(), actor, registry.Alias{Alias: "NICK", PV: "OLD"}))
	f.must(f.registry.Configure(context.Background(), actor, registry.Edit{PV: "OLD", Change: func(s *schema.Settings) error {
		s.ArchiveFields, s.Deadband = []string{"HIHI"}, 0.5
		return nil
	}}))
	f.get("/mgmt/bpl/pauseArchivingPV?pv=OLD")
	for _, c := range []struct {
		failure error
		status  int
		says    string
	}{
		{schema.Errorf(schema.Unavailable, "the store is full"), 503, "the store is full"},
		{schema.Errorf(schema.Conflict, "NEW has data of its own"), 200, "NEW has data of its own"},
		{errors.New("secret"), 500, "its log says why"},
		{nil, 200, "Successfully renamed PV OLD to NEW"},
	} {
		failure = c.failure
		status, answer := f.get("/mgmt/bpl/renamePV?pv=NICK&newname=NEW")
		if status != c.status || !strings.Contains(fmt.Sprint(answer), c.says) {
			t.Errorf("%v: %d %v", c.failure, status, answer)
		}
		if _, known := f.registry.Get("NEW"); known != (c.failure == nil) {
			t.Errorf("%v: NEW registered: %v", c.failure, known)
		}
	}
	if len(steps) != 4 || steps[0] != "OLD to NEW" {
		t.Error(steps)
	}
	old, _ := f.registry.Get("OLD")
	next, _ := f.registry.Get("NEW")
	if next.State != schema.Paused || !next.Settings.Equal(old.Settings) || next.DBRType != old.DBRType || !next.Created.Equal(old.Created) || next.ChunkKey != "NEW:" {
		t.Errorf("%+v is not as %+v", next, old)
	}
	if got := f.registry.AliasesOf("OLD"); len(got) != 1 || f.log.events[len(f.log.events)-1].GetDefined().GetFrom() != "OLD" {
		t.Errorf("aliases of OLD: %v, event %v", got, f.log.events[len(f.log.events)-1])
	}
}

func TestStoreURLIsStatedOnly(t *testing.T) {
	f := newFixture(t)
	f.archive("A")
	f.get("/mgmt/bpl/pauseArchivingPV?pv=A")
	if status, answer := f.get("/mgmt/bpl/modifyStoreURLForPV?pv=A&storage=STS&plugin_url=" + pluginURL); status != 200 || answer.(map[string]any)["status"] != "ok" || !strings.Contains(fmt.Sprint(answer), "no data were moved") {
		t.Error(status, answer)
	}
	if info, _ := f.registry.Get("A"); !slices.Equal(info.Stores, []string{"pb://localhost?name=STS&rootFolder=/data/sts&partitionGranularity=PARTITION_DAY"}) {
		t.Error(info.Stores)
	}
}

// TestBulkInAllForms names many PVs in a long URL, in lines, in CSV and in
// JSON: each PV has its own outcome, in the order it was asked for.
func TestBulkInAllForms(t *testing.T) {
	f := newFixture(t)
	const n = 10_000
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("BULK:PV%05d", i)
	}
	names[5000] = "bad name"
	check := func(what, text string, want func(i int) string) {
		t.Helper()
		var items []map[string]string
		if err := json.Unmarshal([]byte(text), &items); err != nil || len(items) != n {
			t.Fatalf("%s: %d items, %v: %.300s", what, len(items), err, text)
		}
		for i, item := range items {
			if item["pvName"] != names[i] || item["status"] != want(i) || (item["validation"] != "") != (i == 5000) {
				t.Fatalf("%s: item %d is %v", what, i, item)
			}
		}
	}
	began := time.Now()
	body, err := json.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	_, text := f.ask("POST", "/mgmt/bpl/archivePV", "application/json", string(body))
	check("archive, JSON", text, func(i int) string {
		if i == 5000 {
			return "Exception occured"
		}
		return "Archive request submitted"
	})
	outcome := func(i int) string {
		if i == 5000 {
			return ""
		}
		return "ok"
	}
	_, text = f.ask("POST", "/mgmt/bpl/pauseArchivingPV", "text/plain", strings.Join(names, "\n"))
	check("pause, lines", text, outcome)
	_, text = f.ask("POST", "/mgmt/bpl/resumeArchivingPV", "", strings.Join(names, ","))
	check("resume, CSV", text, outcome)
	_, text = f.ask("POST", "/mgmt/bpl/changeArchivalParameters?samplingperiod=2", "application/x-www-form-urlencoded", "pv="+strings.Join(names, ","))
	if got := strings.Count(text, `"status":"ok"`); got != n-1 || strings.Count(text, `"validation"`) != 1 {
		t.Errorf("change, form: %d ok of %d: %.300s", got, n-1, text)
	}
	short := names[:64<<10/len("BULK:PV00000,")]
	status, answer := f.get("/mgmt/bpl/pauseArchivingPV?pv=" + strings.ReplaceAll(strings.Join(short, ","), " ", "%20"))
	if items := answer.([]any); status != http.StatusOK || len(items) != len(short) || items[len(short)-1].(map[string]any)["pvName"] != short[len(short)-1] {
		t.Errorf("a URL of 64 KB: %d, %d items of %d", status, len(items), len(short))
	}
	f.get("/mgmt/bpl/pauseArchivingPV?pv=BULK:*")
	_, text = f.ask("POST", "/mgmt/bpl/deletePV", "application/json", string(body))
	var deleted struct{ Status, Validation string }
	if err := json.Unmarshal([]byte(text), &deleted); err != nil || deleted.Status != "" || strings.Count(deleted.Validation, "\n") != n || !strings.Contains(deleted.Validation, "bad name") {
		t.Errorf("delete, JSON: %.300s, %v", text, err)
	}
	if left := f.registry.Match("BULK:*", 0); len(left) != 0 {
		t.Errorf("%d PVs are left", len(left))
	}
	t.Logf("archive, pause, resume, change and delete of %d PVs: %v", n, time.Since(began))
}
