package web

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
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

// typed gives the error of a PV that never connected: nothing is known of it
// that PVTypeInfo could state.
func typed(info *schema.TypeInfo) error {
	if info.DBRType != schema.UnknownType {
		return nil
	}
	return refuse(schema.NotFound, "look at /mgmt/bpl/getPVStatus, and whether an IOC serves the PV",
		"PV %s is registered but never connected, so its type is not known yet", info.PV)
}

func (s *Server) getPVTypeInfo(w http.ResponseWriter, _ url.Values, n named) error {
	if err := typed(n.Info); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, s.typeInfo(n.Info))
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
		"archiveFields":          append([]string{}, info.ArchiveFields...),
		"usePVAccess":            "false",
		"useDBEProperties":       "false",
	}
	extra := map[string]string{}
	maps.Copy(extra, info.Fields)
	body["extraFields"] = extra
	if info.ControllingPV != "" {
		body["controllingPV"] = string(info.ControllingPV)
	}
	if info.Units == "" && textual(info.DBRType) {
		delete(body, "units")
	}
	for field, name := range limitNames {
		body[name] = string(retrieval.AppendJavaFloat(nil, info.Limits[field], 64))
	}
	addOwn(body, info)
	return body
}

// textual reports whether a PV's values are no numbers, so that they have no
// units: the Appliance then leaves them out.
func textual(t schema.DBRType) bool {
	return t == schema.ScalarString || t == schema.WaveformString || t == schema.ScalarEnum || t == schema.WaveformEnum
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
func (s *Server) getMetadata(w http.ResponseWriter, _ url.Values, n named) error {
	if err := typed(n.Info); err != nil {
		return err
	}
	body := s.typeInfo(n.Info)
	for field, name := range limitNames {
		body[field] = body[name]
	}
	for _, f := range s.latestMetadata(n.Info) {
		body[f.Name] = f.Val
	}
	body["NELM"] = body["EAA_COUNT"]
	writeJSON(w, http.StatusOK, body)
	return nil
}

// latestMetadata is metaFields with what the engine has heard since: the
// newest values of the archived fields, and the number of elements.
// Limits that an IOC does not have, as for strings, are 0 as in the Appliance.
func (s *Server) latestMetadata(info *schema.TypeInfo) []schema.FieldValue {
	fields := metaFields(info, true)
	for _, name := range sortedKeys(limitNames) {
		if _, ok := info.Limits[name]; !ok {
			fields = append(fields, schema.FieldValue{Name: name, Val: "0.0"})
		}
	}
	for _, f := range s.options.Fields(info.PV) {
		i := slices.IndexFunc(fields, func(known schema.FieldValue) bool { return known.Name == f.Name })
		switch {
		case f.Val == "":
		case i < 0:
			fields = append(fields, f)
		default:
			fields[i].Val = f.Val
		}
	}
	return append(fields, schema.FieldValue{Name: "EAA_COUNT", Val: strconv.Itoa(max(info.ElementCount, 1))})
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
