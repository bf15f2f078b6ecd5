package web

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"pvlog/consumers/retrieval"
	"pvlog/schema"
)

// limitNames maps the limits' fields to their names in PVTypeInfo.
var limitNames = map[string]string{
	"LOPR": "lowerDisplayLimit", "HOPR": "upperDisplayLimit",
	"LOLO": "lowerAlarmLimit", "HIHI": "upperAlarmLimit",
	"LOW": "lowerWarningLimit", "HIGH": "upperWarningLimit",
	"DRVL": "lowerCtrlLimit", "DRVH": "upperCtrlLimit",
}

// find gives what the registry knows of a PV.
func (s *Server) find(pv schema.PVName) (*schema.TypeInfo, error) {
	info, ok := s.options.Registry.Get(pv)
	if !ok {
		return nil, refuse(schema.NotFound, "archive it with /mgmt/bpl/archivePV?pv="+string(pv)+", or look for names with /retrieval/bpl/getMatchingPVs?pv=*",
			"Unable to find typeinfo for pv %s", pv)
	}
	return info, nil
}

// findTyped is find for a PV that has connected.
func (s *Server) findTyped(r *http.Request) (*schema.TypeInfo, error) {
	values, err := query(r)
	if err != nil {
		return nil, err
	}
	pv, err := onePV(values)
	if err != nil {
		return nil, err
	}
	info, err := s.find(pv)
	if err == nil && info.DBRType == schema.UnknownType {
		return nil, refuse(schema.NotFound, "look at /mgmt/bpl/getPVStatus, and whether an IOC serves the PV",
			"PV %s is registered but never connected, so its type is not known yet", pv)
	}
	return info, err
}

func (s *Server) getPVTypeInfo(w http.ResponseWriter, r *http.Request) error {
	info, err := s.findTyped(r)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, s.typeInfo(info))
	return nil
}

// typeInfo is the Appliance's PVTypeInfo: all scalars are text.
func (s *Server) typeInfo(info *schema.TypeInfo) map[string]any {
	channel, _ := s.options.Channels(info.PV)
	perEvent := 0.0
	if channel.EventRate > 0 {
		perEvent = channel.ByteRate / channel.EventRate
	}
	body := map[string]any{
		"pvName":                 string(info.PV),
		"DBRType":                info.DBRType.String(),
		"scalar":                 strconv.FormatBool(!info.DBRType.Waveform()),
		"elementCount":           strconv.Itoa(info.ElementCount),
		"applianceIdentity":      s.options.Identity,
		"chunkKey":               info.ChunkKey,
		"hostName":               info.Host,
		"precision":              javaFloat(float64(info.Precision)),
		"units":                  info.Units,
		"hasReducedDataSet":      "false",
		"computedEventRate":      javaFloat(channel.EventRate),
		"computedStorageRate":    javaFloat(channel.ByteRate),
		"computedBytesPerEvent":  strconv.Itoa(int(perEvent)),
		"userSpecifiedEventRate": "0.0",
		"creationTime":           isoTime(info.Created),
		"modificationTime":       isoTime(info.Modified),
		"paused":                 strconv.FormatBool(info.State != schema.Archiving),
		"samplingMethod":         string(info.SamplingMethod),
		"samplingPeriod":         javaFloat(info.SamplingPeriod.Seconds()),
		"policyName":             info.Policy,
		"dataStores":             s.storeURLs(info),
		"controllingPV":          string(info.ControllingPV),
		"archiveFields":          append([]string{}, info.ArchiveFields...),
		"usePVAccess":            "false",
		"useDBEProperties":       "false",
	}
	extra := map[string]string{}
	maps.Copy(extra, info.Fields)
	body["extraFields"] = extra
	for field, name := range limitNames {
		body[name] = string(retrieval.AppendJavaFloat(nil, info.Limits[field], 64))
	}
	addOwn(body, info)
	return body
}

// isoTime is a time of PVTypeInfo: ISO 8601 with milliseconds.
func isoTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// storeURLs are the stores of a PV as the Appliance's plugin URLs.
func (s *Server) storeURLs(info *schema.TypeInfo) []string {
	if len(info.Stores) > 0 {
		return info.Stores
	}
	urls := []string{}
	for _, store := range s.options.Retrieval.Stores() {
		urls = append(urls, fmt.Sprintf("pb://localhost?name=%s&rootFolder=%s&partitionGranularity=%v", store.Name, store.Root, store.Granularity))
	}
	return urls
}

// getMetadata answers PVTypeInfo and the PV's fields in one flat object.
func (s *Server) getMetadata(w http.ResponseWriter, r *http.Request) error {
	info, err := s.findTyped(r)
	if err != nil {
		return err
	}
	body := s.typeInfo(info)
	for field, name := range limitNames {
		body[field] = body[name]
	}
	for _, f := range metaFields(info, true) {
		body[f.Name] = f.Val
	}
	count := strconv.Itoa(info.ElementCount)
	body["EAA_COUNT"], body["NELM"] = count, count
	writeJSON(w, http.StatusOK, body)
	return nil
}

// metaFields are the fields that go with samples: units and precision, and if
// asked for limits, labels and description. Values are never empty, as Java
// clients parse them, and PREC is an integer. Labels are complete or absent:
// Phoebus counts them.
func metaFields(info *schema.TypeInfo, all bool) []schema.FieldValue {
	var fields []schema.FieldValue
	add := func(name, val string) {
		if val != "" {
			fields = append(fields, schema.FieldValue{Name: name, Val: val})
		}
	}
	add("EGU", info.Units)
	add("PREC", strconv.Itoa(info.Precision))
	if !all {
		return fields
	}
	for _, name := range slices.Sorted(maps.Keys(info.Limits)) {
		add(name, string(retrieval.AppendJavaFloat(nil, info.Limits[name], 64)))
	}
	add("DESC", info.Fields["DESC"])
	labels := 0
	for name := range info.Fields {
		if strings.HasPrefix(name, "ENUM_") {
			labels++
		}
	}
	for i := range labels {
		name := "ENUM_" + strconv.Itoa(i)
		add(name, or(info.Fields[name], name))
	}
	return fields
}
