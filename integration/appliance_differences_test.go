package integration

import "strings"

// difference is a request that pvlog answers in another way than the Appliance
// on purpose.
type difference struct {
	why     string
	status  int                 // HTTP status, if it is another one; from 400 on the answer is a refusal
	like    string              // what the answer is compared with instead of the recorded one
	repair  func(string) string // the same, made of the recorded one
	partial bool                // lists hold other PVs, or more or fewer
}

// refusalLike is the shape of every refusal; its words depend on the request.
const refusalLike = `{"error":"","code":"","hint":""}`

// Reasons that several differences have in common.
const (
	badInput  = "a wrong request is the client's fault: 400 and what is wrong with it, not 404, 500 or half an answer"
	requested = "a PV that was asked for and has not connected yet is listed: it is registered, shown as never connected, and nothing of it has to be asked for again"
	ridden    = "a field's value is archived with the first sample after a start"
	aliasIs   = "an alias stands for its PV in lists too, so that nobody archives the PV a second time; the Appliance counts it as not archived"
)

// differences by the place of the request in the recording. That a refusal's
// body is JSON in place of Tomcat's page holds everywhere.
var differences = map[int]difference{
	0:  {why: requested, repair: also("R:ALIAS", "no:such:pv")},
	1:  {why: "aliases stand in the order of names, and not behind all PVs", like: `["R:AAO","R:AI","R:AIDB","R:ALIAS","R:AO"]`},
	5:  {why: requested, repair: withRow(`{"pvName":"no:such:pv","status":"Initial sampling"}`)},
	10: {why: requested, repair: withRow(`{"pvName":"no:such:pv","status":"Initial sampling"}`)},
	17: {why: badInput, status: 400},
	29: {why: "policies are the site's; these are built in", like: `{"Default":""}`},
	30: {why: "the recording ends within the answer", repair: untilLastLine, partial: true},
	31: {why: "a PV that has connected is archived at once, and not kept back for a minute", repair: onlyRow("no:such:pv")},
	34: {why: "a PV that has not connected yet stands in it with rate 0: it has a channel", repair: withRow(`{"pvName":"no:such:pv","eventRate":"0.0"}`)},
	43: {why: "nothing was dropped for want of room", like: `[]`},
	56: {why: badInput, status: 400},
	59: {why: "the Appliance writes no JSON; " + aliasIs, like: `["never:asked","R:CNT.EGU"]`},
	60: {why: aliasIs, like: `["R:CNT","R:ALIAS"]`},
	61: {why: requested, repair: also("R:WUL", "no:such:pv")},
	62: {why: "the Appliance writes no JSON", like: `["never:asked"]`},
	75: {why: "the Appliance looks into stores only, and found nothing there yet", status: 200, like: `{"timestamp":"2026-11-23T17:45:43.000Z"}`},
	85: {why: "the recorded Appliance did not answer within its client's patience", status: 501},
	86: {why: "the recorded Appliance did not answer within its client's patience", status: 501},
	90: {why: "the Appliance does not escape the quotes of a label", repair: func(text string) string {
		return strings.Replace(text, `"Four "q""`, `"Four \"q\""`, 1)
	}},
	96: {why: "the newest metadata of an alias are those of its PV", repair: func(text string) string {
		return strings.Replace(text, `"EGU"`, `"EAA_COUNT":"1","DRVL":"0.0","DRVH":"0.0","LOPR":"0.0","HOPR":"0.0","LOLO":"NaN","LOW":"NaN","HIGH":"NaN","HIHI":"NaN","EGU"`, 1)
	}},
	99:  {why: ridden, repair: withField},
	100: {why: ridden, repair: withField},
	91:  {why: "meta holds units and precision unless fetchLatestMetadata=true asks for more; the Appliance adds the rest if no store has a sample", like: `[{"meta":{"name":"R:WD","PREC":"0"},"data":[]}]`},
	107: {why: "as 91", like: `[{"meta":{"name":"R:WC","PREC":"0"},"data":[]}]`},
	109: {why: "as 91", like: `[{"meta":{"name":"R:WSTR","PREC":"0"},"data":[]}]`},
	111: {why: "samples of several PVs at once are not served yet", status: 404},
	113: {why: badInput, status: 400},
	114: {why: badInput, status: 400},
	115: {why: badInput, status: 400},
	116: {why: badInput, status: 400},
	117: {why: badInput, status: 400},
	119: {why: "a search begins at once", repair: func(text string) string {
		return strings.NewReplacer(`"N\/A"`, `"Nov/23/2026 17:47:07 UTC"`, `"START"`, `"METAINFO_GATHERING"`).Replace(text)
	}},
	126: {why: "a PV that is not archived is told by the HTTP status too", status: 404, like: notDone("pause", `"pvName":"never:asked",`)},
	132: {why: "as 126, and it says resume", status: 404, like: notDone("resume", `"pvName":"never:asked",`)},
	154: {why: "as 126", status: 404, like: notDone("delete", "")},
	135: {why: "as 126", status: 404, like: `{"error":"","code":"","hint":"","validation":"Unable to change the archival parameters for never:asked"}`},
	138: {why: badInput, status: 409},
	142: {why: badInput, status: 404},
	146: {why: "there is one store until samples move between tiers", like: `{"validation":"Cannot find storage with name LTS for pv R:MBBI"}`},
	150: {why: badInput, status: 400},
	163: {why: badInput, status: 409},
	164: {why: badInput, status: 400},
	159: {why: "a policy that does not exist is not taken for another one", repair: func(text string) string {
		return strings.Replace(text, `"Archive request submitted"`, `"Exception occured","validation":"PV new:j: default.yaml has no policy \"nope\"; it has Default"`, 1)
	}},
	160: {why: badInput, status: 400},
	161: {why: "names may come as text, one a line, as for pauseArchivingPV", status: 200, like: `[{"pvName":"new:text","status":"Archive request submitted"},{"pvName":"new:text2","status":"Archive request submitted"}]`},
}

// notDone is the refusal of a command for a PV that is not archived, which
// states the Appliance's words as well.
func notDone(verb, more string) string {
	return `{"error":"","code":"","hint":"",` + more + `"validation":"Trying to ` + verb +
		` PV never:asked that is not currently being archived or on an instance that is not active."}`
}

// also adds a name behind another one of a list.
func also(before, name string) func(string) string {
	return func(text string) string {
		return strings.Replace(text, `"`+before+`"`, `"`+before+`","`+name+`"`, 1)
	}
}

// withRow adds a row to a list.
func withRow(row string) func(string) string {
	return func(text string) string { return strings.TrimSuffix(strings.TrimSpace(text), "]") + "," + row + "]" }
}

// onlyRow leaves one PV of a list.
func onlyRow(pv string) func(string) string {
	return func(text string) string {
		name := strings.Index(text, `"`+pv+`"`)
		end := name + strings.Index(text[name:], "}")
		return "[" + text[strings.LastIndex(text[:name], "{"):end] + "}]"
	}
}

// withField adds a sample of a field to an answer without any.
func withField(text string) string {
	return strings.Replace(text, `"data": [`, `"data": [{"secs":1,"val":20.0,"nanos":1,"severity":2,"status":3}`, 1)
}

// untilLastLine closes a list whose last line is cut off.
func untilLastLine(text string) string {
	return text[:strings.LastIndex(text, ",\n")] + "]"
}

// moreKeys are keys that the Appliance's answers do not have.
var moreKeys = map[string]string{
	"eventsDropped": "how many samples stand in the drop log, or were overwritten: each report of drops counts some alone",
	"channelState":  "the engine's own word for the connection, which tells more than connectionState",
	"chunkKey":      "where the PV's files are; documented by the Appliance, which leaves it out when it makes files' names by itself",
	"hostName":      "the IOC of strings and enums is known as well",
	"version":       "of each appliance of the list too",
	"paths":         "an unknown path is answered with those that there are",
	"ENUM_0":        "labels of enums are kept with the PV",
	"ENUM_1":        "as ENUM_0",
	"ENUM_2":        "as ENUM_0",
	"ENUM_3":        "as ENUM_0",
	"ENUM_4":        "as ENUM_0",
	"MDEL":          "a simulated array of one element has deadbands", "ADEL": "as MDEL",
	"NELM": "Phoebus asks for it",
}

// fewerKeys are keys of the Appliance that pvlog's answers do not have.
var fewerKeys = map[string]string{
	"NAME": "it is the PV's name",
	"LTS":  "one store until samples move between tiers", "MTS": "as LTS",
	"totalETLRuns(STS)": "nothing moves between stores yet", "totalETLRuns(MTS)": "as STS", "totalETLRuns(LTS)": "as STS",
	"timeForOverallETLInSeconds(STS)": "as totalETLRuns", "timeForOverallETLInSeconds(MTS)": "as STS", "timeForOverallETLInSeconds(LTS)": "as STS",
	"maxETLPercentage": "as totalETLRuns",
}

// Reasons that several lines of details are missing.
const (
	noTiers   = "nothing moves between stores yet"
	javaCA    = "an inner number of the Java client library or of its threads"
	noMeasure = "not measured"
)

// fewerLines are lines of details that pvlog does not have.
var fewerLines = map[string]string{
	"ETL Stages will be triggered at": noTiers,
	"<b>ETL 0</b>":                    noTiers, "<b>ETL 1</b>": noTiers,
	"ETL 0 partition granularity of source": noTiers, "ETL 1 partition granularity of source": noTiers,
	"ETL 0 partition granularity of dest": noTiers, "ETL 1 partition granularity of dest": noTiers,
	"ETL 0 delay between jobs (s)": noTiers, "ETL 1 delay between jobs (s)": noTiers,
	"ETL 0 next job runs at": noTiers, "ETL 1 next job runs at": noTiers,
	"ETL 0 number of times we performed ETL": noTiers, "ETL 1 number of times we performed ETL": noTiers,
	"CAJ Searches": javaCA, "CAJ channel ID (CID)": javaCA, "CAJ server channel ID (SID)": javaCA, "CAJ subscription ID": javaCA,
	"Do we have a valid DBR Type constructor": javaCA, "Command thread id": javaCA, "Current command queue size": javaCA,
	"Max command queue size": javaCA, "Time elapsed since search request (s)": javaCA, "Open channels": javaCA,
	"Do we use DBE_Properties?": javaCA, "Do we have a DBE Properties subscription?": javaCA, "Sample buffer capacity": "samples wait in the log, not in a buffer of the PV",
	"Daily metadata last saved at": noMeasure, "Any other PV's being controlled?": noMeasure, "Connected channels for the extra fields": noMeasure,
	"Equivalent sequential I/O time per cycle (secs)": "rounds write one after the other: it is the write cycle's time", "Equivalent sequential I/O load (%)": "as its time",
	"Benchmark - writing at (MB/sec)": noMeasure,
	"Capacity planning last update":   "there is no other appliance to share PVs with", "Engine write thread usage": "as capacity planning",
	"Incremental appliance storage rate (in GB/year)": "as capacity planning", "Incremental appliance event rate (in events/sec)": "as capacity planning",
	"Incremental appliance PV count": "as capacity planning",
}

// ourWords are keys whose words are pvlog's own.
var ourWords = map[string]string{
	"Archive Fields": "in the order of names", "fields": "as Archive Fields",
	"error": "refusals say what is wrong with this request", "code": "as error", "hint": "as error",
	"dataStores": "folders are the site's", "STS": "as dataStores",
	"hostName": "host and port of the IOC", "Host name": "as hostName", "Hostname of PV from CA": "as hostName",
	"lowLevel": "lines of details within a text", "mainMeta": "what is known is little before a PV connects",
	"SCAN":        "simulated records process by themselves",
	"MGMT_uptime": "another moment", "Channels with pending search requests": "another number",
	"policyName": "policies are the site's", "Default": "as policyName",
	"clusterInetPort": "addresses of this server", "dataRetrievalURL": "as clusterInetPort", "engineURL": "as clusterInetPort",
	"etlURL": "as clusterInetPort", "mgmtURL": "as clusterInetPort", "retrievalURL": "as clusterInetPort",
	"version": "versions of pvlog", "engine_version": "as version", "etl_version": "as version", "mgmt_version": "as version", "retrieval_version": "as version",
}
