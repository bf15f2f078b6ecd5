package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

// definition is a PVTypeInfo that somebody states.
type definition struct {
	info      schema.TypeInfo
	appliance string   // that it belongs to, "" if it does not say
	notes     []string // what of it is not taken as it stands
}

// Notes on definitions, so that many alike can be told at once.
const (
	noteStores   = "dataStores are those of another site: they are kept as stated, and samples go to the stores that this server is set up with"
	noteChunkKey = "chunkKey is another than pvlog makes of the name: files of that site are not found under it"
	notePeriod   = "samplingPeriod was raised to 0.1, the shortest"
)

// define reads a PVTypeInfo. What it does not state is as in base, which is
// that of the registered PV, or of none. Keys that nobody knows are left out
// and noted.
func (s *Server) define(object map[string]json.RawMessage, base schema.TypeInfo) (d definition, err error) {
	var name text
	if err := json.Unmarshal(object["pvName"], &name); err != nil || name == "" {
		return d, refuse(schema.Invalid, "a PVTypeInfo is what /mgmt/bpl/getPVTypeInfo answers", "the PVTypeInfo states no pvName")
	}
	d.info = base
	if d.info.PV, err = schema.ParsePVName(string(name)); err != nil {
		return d, err
	}
	d.info.Limits, d.info.Fields = maps.Clone(base.Limits), maps.Clone(base.Fields)
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if err := s.defineKey(&d, key, object[key]); err != nil {
			return d, fmt.Errorf("%s of PV %s: %w", key, d.info.PV, err)
		}
	}
	if p := d.info.SamplingPeriod; p < registry.MinPeriod {
		d.info.SamplingPeriod = registry.MinPeriod
		d.notes = append(d.notes, notePeriod)
	}
	return d, nil
}

// defineKey takes over what one key of a PVTypeInfo states.
func (s *Server) defineKey(d *definition, key string, raw json.RawMessage) error {
	switch key {
	case "dataStores", "archiveFields":
		return s.defineList(d, key, raw)
	case "extraFields":
		var fields map[string]text
		if err := json.Unmarshal(raw, &fields); err != nil {
			return badValue(err)
		}
		d.info.Fields = make(map[string]string, len(fields))
		for name, value := range fields {
			d.info.Fields[name] = string(value)
		}
		return nil
	}
	if take, known := definedKeys[key]; known {
		var value text
		if err := json.Unmarshal(raw, &value); err != nil {
			return badValue(err)
		}
		return take(d, string(value))
	}
	if !slices.Contains(derivedKeys, key) {
		d.notes = append(d.notes, "key "+strconv.Quote(cutText(key))+" is not known and was left out")
	}
	return nil
}

func cutText(s string) string { return s[:min(len(s), 60)] }

func badValue(err error) error { return refuse(schema.Invalid, "", "%v", err) }

// defineList takes over stores and archive fields. Stores that are those of
// this server are not stated: they may change.
func (s *Server) defineList(d *definition, key string, raw json.RawMessage) error {
	var list []string
	if err := json.Unmarshal(raw, &list); err != nil {
		return badValue(err)
	}
	if key == "archiveFields" {
		d.info.ArchiveFields = list
		return nil
	}
	if d.info.Stores = list; len(list) == 0 || slices.Equal(list, s.storeURLs(&schema.TypeInfo{})) {
		d.info.Stores = nil
		return nil
	}
	d.notes = append(d.notes, noteStores)
	return nil
}

// derivedKeys are keys of a PVTypeInfo that follow from others, or that this
// server measures itself.
var derivedKeys = []string{"pvName", "scalar", "hasReducedDataSet", "computedEventRate", "computedStorageRate", "computedBytesPerEvent",
	"userSpecifiedEventRate", "modificationTime", "useDBEProperties"}

// definedKeys take over what keys with one value state. Those that begin with
// pvlog are not the Appliance's, which leaves keys out that it does not know.
var definedKeys = map[string]func(d *definition, value string) error{
	"DBRType": func(d *definition, v string) (err error) { d.info.DBRType, err = parseType(v); return err },
	"elementCount": func(d *definition, v string) (err error) {
		d.info.ElementCount, err = parseInt(v, math.MaxInt32)
		return err
	},
	"applianceIdentity": func(d *definition, v string) error { d.appliance = v; return nil },
	"chunkKey":          defineChunkKey,
	"hostName":          func(d *definition, v string) error { d.info.Host = v; return nil },
	"units":             func(d *definition, v string) error { d.info.Units = v; return nil },
	"precision":         definePrecision,
	"creationTime": func(d *definition, v string) (err error) {
		d.info.Created, err = parseTime("creationTime", v)
		return err
	},
	"paused":         definePaused,
	"samplingMethod": defineMethod,
	"samplingPeriod": func(d *definition, v string) (err error) {
		d.info.SamplingPeriod, err = parseStatedPeriod(v)
		return err
	},
	"policyName": func(d *definition, v string) error { d.info.Policy = v; return nil },
	"controllingPV": func(d *definition, v string) (err error) {
		d.info.ControllingPV, err = optionalName(text(v))
		return err
	},
	"usePVAccess": definePVAccess,

	"lowerDisplayLimit": defineLimit("LOPR"), "upperDisplayLimit": defineLimit("HOPR"),
	"lowerAlarmLimit": defineLimit("LOLO"), "upperAlarmLimit": defineLimit("HIHI"),
	"lowerWarningLimit": defineLimit("LOW"), "upperWarningLimit": defineLimit("HIGH"),
	"lowerCtrlLimit": defineLimit("DRVL"), "upperCtrlLimit": defineLimit("DRVH"),

	"pvlogState":       func(d *definition, v string) error { d.info.State = schema.State(v); return nil },
	"pvlogDeadband":    func(d *definition, v string) (err error) { d.info.Deadband, err = parseNumber(v); return err },
	"pvlogDriftPast":   func(d *definition, v string) (err error) { d.info.DriftPast, err = parseSeconds(v); return err },
	"pvlogDriftFuture": func(d *definition, v string) (err error) { d.info.DriftFuture, err = parseSeconds(v); return err },
	"pvlogRateEvents": func(d *definition, v string) error {
		n, err := strconv.ParseUint(v, 10, 32)
		d.info.RateEvents = uint32(n)
		return err
	},
	"pvlogRateBytes": func(d *definition, v string) (err error) {
		d.info.RateBytes, err = strconv.ParseUint(v, 10, 50)
		return err
	},
	"pvlogSkipAliasCheck": func(d *definition, v string) (err error) { d.info.SkipAliasCheck, err = parseBool("it", v); return err },
	"pvlogAskedSampling":  func(d *definition, v string) (err error) { d.info.AskedSampling, err = parseBool("it", v); return err },
	"pvlogAskedPolicy":    func(d *definition, v string) error { d.info.AskedPolicy = v; return nil },
}

// addOwn adds to a PVTypeInfo what only pvlog knows of a PV, where it is not as
// it would be without it: the answers for most PVs are the Appliance's.
func addOwn(body map[string]any, info *schema.TypeInfo) {
	add := func(key, value string, stated bool) {
		if stated {
			body[key] = value
		}
	}
	add("pvlogState", string(info.State), info.State == schema.Stopped)
	add("pvlogDeadband", strconv.FormatFloat(info.Deadband, 'g', -1, 64), info.Deadband != 0)
	add("pvlogDriftPast", strconv.FormatInt(int64(info.DriftPast/time.Second), 10), info.DriftPast != 0)
	add("pvlogDriftFuture", strconv.FormatInt(int64(info.DriftFuture/time.Second), 10), info.DriftFuture != 0)
	add("pvlogRateEvents", strconv.FormatUint(uint64(info.RateEvents), 10), info.RateEvents != 0)
	add("pvlogRateBytes", strconv.FormatUint(info.RateBytes, 10), info.RateBytes != 0)
	add("pvlogSkipAliasCheck", "true", info.SkipAliasCheck)
	add("pvlogAskedSampling", "true", info.AskedSampling)
	add("pvlogAskedPolicy", info.AskedPolicy, info.AskedPolicy != "")
}

func defineChunkKey(d *definition, v string) error {
	if v != "" && v != schema.ChunkKey(d.info.PV) {
		d.notes = append(d.notes, noteChunkKey)
	}
	return nil
}

func definePrecision(d *definition, v string) error {
	f, err := parseNumber(v)
	d.info.Precision = int(min(max(f, math.MinInt16), math.MaxInt16))
	return err
}

// definePaused does not wake a PV that is stopped and paused as well.
func definePaused(d *definition, v string) error {
	paused, err := parseBool("it", v)
	switch {
	case err != nil:
		return err
	case !paused:
		d.info.State = schema.Archiving
	case d.info.State != schema.Stopped:
		d.info.State = schema.Paused
	}
	return nil
}

func defineMethod(d *definition, v string) (err error) {
	if v == "DONT_ARCHIVE" {
		return refuse(schema.Invalid, "", "the Appliance does not archive such a PV, and pvlog has no templates")
	}
	d.info.SamplingMethod, err = schema.ParseSamplingMethod(v)
	return err
}

func definePVAccess(_ *definition, v string) error {
	if pva, err := parseBool("it", v); err != nil || pva {
		return errors.Join(err, refuse(schema.Invalid, "", "pvlog reads Channel Access only"))
	}
	return nil
}

func defineLimit(field string) func(*definition, string) error {
	return func(d *definition, v string) error {
		limit, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return refuse(schema.Invalid, "", "%q is no number", cutText(v))
		}
		if d.info.Limits == nil {
			d.info.Limits = make(map[string]float64, len(limitNames))
		}
		d.info.Limits[field] = limit
		return nil
	}
}

// parseType reads a type as PVTypeInfo names it; that of a PV which never
// connected is DBR_UNKNOWN.
func parseType(name string) (schema.DBRType, error) {
	for t := schema.UnknownType; t <= schema.V4GenericBytes; t++ {
		if t.String() == name {
			return t, nil
		}
	}
	return schema.UnknownType, refuse(schema.Invalid, "types are DBR_SCALAR_DOUBLE, DBR_WAVEFORM_SHORT and so on", "%q is not a type", cutText(name))
}

func parseNumber(v string) (float64, error) {
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, refuse(schema.Invalid, "", "%q is no number", cutText(v))
	}
	return f, nil
}

func parseInt(v string, most int) (int, error) {
	n, err := strconv.Atoi(strings.TrimSuffix(v, ".0"))
	if err != nil || n < 0 || n > most {
		return 0, refuse(schema.Invalid, "", "%q is not a number from 0 to %d", cutText(v), most)
	}
	return n, nil
}

func parseSeconds(v string) (time.Duration, error) {
	n, err := parseInt(v, 1<<31)
	return time.Duration(n) * time.Second, err
}

// parseStatedPeriod is parsePeriod for a PVTypeInfo, which may state 0.
func parseStatedPeriod(v string) (time.Duration, error) {
	if f, err := parseNumber(v); err != nil || f <= 0 {
		return 0, err
	}
	return parsePeriod(v)
}

// putTypeInfo states everything about one PV, as the Appliance's does: override
// for one that is registered, createnew for one that is not, which is paused
// then. What the body does not state of a registered PV stays as it is.
func (s *Server) putTypeInfo(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r)
	if err != nil {
		return err
	}
	pv, err := onePV(values)
	if err != nil {
		return err
	}
	override, err := flagOf(values, "override")
	if err != nil {
		return err
	}
	createnew, err := flagOf(values, "createnew")
	if err != nil {
		return err
	}
	var object map[string]json.RawMessage
	if err := json.NewDecoder(r.Body).Decode(&object); err != nil {
		return badJSONBody(err, "a PVTypeInfo as /mgmt/bpl/getPVTypeInfo answers it")
	}
	present, known := s.options.Registry.Get(pv)
	d, err := s.define(object, definedBase(present))
	if err != nil {
		return err
	}
	if err := s.mayPut(pv, d, present, override, createnew); err != nil {
		return err
	}
	if !known {
		d.info.State = schema.Paused
	}
	result := s.options.Registry.Define(r.Context(), actorOf(r, listing{values: values}), registry.Definition{Info: d.info, Override: known})[0]
	if result.Err != nil {
		return result.Err
	}
	info, err := s.registered(pv)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, s.typeInfo(info))
	return nil
}

// mayPut checks a definition against what is registered. A PV that was
// requested and never connected has no PVTypeInfo in the Appliance, so that
// createnew states it as override does.
func (s *Server) mayPut(pv schema.PVName, d definition, present *schema.TypeInfo, override, createnew bool) error {
	switch {
	case d.info.PV != pv:
		return refuse(schema.Invalid, "name the same PV in pv= and in pvName", "The PV name in the call %s does not match the PV name in the typeinfo %s", pv, d.info.PV)
	case present == nil && !createnew:
		return refuse(schema.NotFound, "add createnew=true", "We do not have a typeinfo for PV %s but the createnew flag has not been set", pv)
	case present != nil && !override && !(createnew && present.DBRType == schema.UnknownType):
		return refuse(schema.Conflict, "add override=true", "We already have a typeinfo for PV %s but the override flag has not been set", pv)
	case d.appliance != "" && d.appliance != s.options.Identity:
		return refuse(schema.Invalid, "state applianceIdentity "+s.options.Identity+", or import it with /mgmt/bpl/importConfig",
			"The appliance identity for an existing PVTypeInfo %s does not match the appliance identity in the typeinfo %s for pv %s", s.options.Identity, d.appliance, pv)
	}
	return nil
}

// definedBase is what a PVTypeInfo leaves open: as the PV is registered, or as
// one that is asked for without parameters.
func definedBase(present *schema.TypeInfo) schema.TypeInfo {
	if present != nil {
		return *present
	}
	return schema.TypeInfo{State: schema.Archiving, DBRType: schema.UnknownType, Created: time.Now(),
		Settings: schema.Settings{SamplingMethod: schema.Monitor, SamplingPeriod: time.Second}}
}

// flagOf reads a parameter that is true or false; absent it is false.
func flagOf(values map[string][]string, name string) (bool, error) {
	if len(values[name]) == 0 || values[name][0] == "" {
		return false, nil
	}
	return parseBool(name, values[name][0])
}

// badJSONBody is the error of a body that is not the JSON which is expected.
func badJSONBody(err error, want string) error {
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return refuse(schema.Invalid, "send less at once", "the request's body is larger than %d bytes", tooLarge.Limit).as(http.StatusRequestEntityTooLarge)
	}
	return refuse(schema.Invalid, "send "+want, "the body is not the JSON that is expected: %v", err)
}
