package web

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// differenceJSON is something about a PV that an event changed; nil is what
// was not there.
type differenceJSON struct {
	Name string `json:"name"`
	Old  any    `json:"old"`
	New  any    `json:"new"`

	oldText, newText string
}

// trait is something about a PV: for JSON, and for people.
type trait struct {
	name  string
	value any
	text  string
}

func spanTrait(name string, d time.Duration) trait {
	text := d.String() // "1h0m0s"
	for _, unit := range []string{"m", "h"} {
		if short, ok := strings.CutSuffix(text, unit+map[string]string{"m": "0s", "h": "0m"}[unit]); ok {
			text = short + unit
		}
	}
	return trait{name, d.Seconds(), text}
}

func wordTrait[T ~string](name string, v T) trait { return trait{name, v, or(string(v), "none")} }

func listTrait(name string, v []string) trait {
	return trait{name, list(v), or(strings.Join(v, " "), "none")}
}

// traitsOf are all that can change about a PV, nil for one that is not there.
func traitsOf(info *schema.TypeInfo) []trait {
	if info == nil {
		return nil
	}
	if info.State == schema.Alias {
		return []trait{wordTrait("state", info.State), wordTrait("alias_of", info.AliasOf)}
	}
	traits := []trait{
		wordTrait("state", info.State), wordTrait("method", info.SamplingMethod), spanTrait("period", info.SamplingPeriod),
		wordTrait("policy", info.Policy), wordTrait("controlling_pv", info.ControllingPV),
		listTrait("fields", info.ArchiveFields), listTrait("stores", info.Stores),
		{"deadband", info.Deadband, strconv.FormatFloat(info.Deadband, 'g', -1, 64)},
		spanTrait("drift_past", info.DriftPast), spanTrait("drift_future", info.DriftFuture),
		{"rate_events", info.RateEvents, strconv.FormatUint(uint64(info.RateEvents), 10)},
		{"rate_bytes", info.RateBytes, strconv.FormatUint(info.RateBytes, 10)},
		{"skip_alias_check", info.SkipAliasCheck, strconv.FormatBool(info.SkipAliasCheck)},
	}
	if info.DBRType == schema.UnknownType {
		return traits
	}
	traits = append(traits, wordTrait("type", info.DBRType.String()),
		trait{"element_count", info.ElementCount, strconv.Itoa(info.ElementCount)},
		wordTrait("host", info.Host), wordTrait("units", info.Units),
		trait{"precision", info.Precision, strconv.Itoa(info.Precision)})
	for _, name := range slices.Sorted(maps.Keys(info.Limits)) {
		traits = append(traits, trait{"limits." + name, jsonNumber(info.Limits[name]), strconv.FormatFloat(info.Limits[name], 'g', -1, 64)})
	}
	for _, name := range slices.Sorted(maps.Keys(info.Fields)) {
		traits = append(traits, wordTrait("extra_fields."+name, info.Fields[name]))
	}
	return traits
}

// differences compares two states of a PV; nil is a PV that is not registered.
func differences(before, after *schema.TypeInfo) []differenceJSON {
	old := make(map[string]trait)
	for _, t := range traitsOf(before) {
		old[t.name] = t
	}
	diffs := []differenceJSON{}
	for _, now := range traitsOf(after) {
		was, ok := old[now.name]
		delete(old, now.name)
		if ok && was.text == now.text {
			continue
		}
		diffs = append(diffs, differenceJSON{now.name, was.value, now.value, was.text, now.text})
	}
	for _, was := range traitsOf(before) {
		if _, gone := old[was.name]; gone {
			diffs = append(diffs, differenceJSON{Name: was.name, Old: was.value, oldText: was.text})
		}
	}
	return diffs
}

// words tell the differences on one line: "period 1s -> 10s, policy none -> fast".
func words(diffs []differenceJSON) string {
	texts := make([]string, len(diffs))
	for i, d := range diffs {
		switch {
		case d.Old == nil:
			texts[i] = d.Name + " " + d.newText
		case d.New == nil:
			texts[i] = d.Name + " " + d.oldText + " -> unknown"
		default:
			texts[i] = fmt.Sprintf("%s %s -> %s", d.Name, d.oldText, d.newText)
		}
	}
	return strings.Join(texts, ", ")
}

// eventJSON is an event of a PV.
type eventJSON struct {
	Seq      uint64           `json:"seq"`
	Time     time.Time        `json:"time"`
	PV       string           `json:"pv"`
	Event    string           `json:"event"`   // its kind
	Summary  string           `json:"summary"` // what changed, for people
	Changes  []differenceJSON `json:"changes"`
	Actor    string           `json:"actor"`
	Source   string           `json:"source"`
	Reason   string           `json:"reason"`
	ChangeID string           `json:"change_id,omitempty"`
	Undoes   uint64           `json:"undoes,omitempty"` // the event that this one takes back
}

// eventOf tells an event with the states before and after it.
func eventOf(seq uint64, e *logpb.RegistryEvent, before, after *schema.TypeInfo) eventJSON {
	out := eventJSON{Seq: seq, Time: time.Unix(0, e.GetTime()).UTC(), PV: e.GetPv(), Changes: differences(before, after),
		Actor: e.GetActor(), Source: e.GetSource(), Reason: e.GetReason(), ChangeID: e.GetChangeId(), Undoes: e.GetUndoes()}
	out.Event = eventKind(e)
	out.Summary = summaryOf(out.Event, e, out.Changes, before)
	return out
}

// eventKind is the name of the event's kind, as the message has it.
func eventKind(e *logpb.RegistryEvent) string {
	what := e.ProtoReflect().WhichOneof(e.ProtoReflect().Descriptor().Oneofs().ByName("what"))
	if what == nil {
		return "unknown"
	}
	return string(what.Name())
}

func summaryOf(kind string, e *logpb.RegistryEvent, diffs []differenceJSON, before *schema.TypeInfo) string {
	diffs = slices.DeleteFunc(slices.Clone(diffs), func(d differenceJSON) bool { return d.Name == "state" || d.Name == "alias_of" })
	switch kind {
	case "requested":
		r := e.GetRequested()
		return fmt.Sprintf("requested: %s %s", r.GetSamplingMethod(), spanTrait("", schema.SettingsOf(r).SamplingPeriod).text)
	case "started":
		if before == nil || before.DBRType == schema.UnknownType {
			s := e.GetStarted()
			text := fmt.Sprintf("connected: %v, %d elements, from %s", schema.DBRType(s.GetType()), s.GetElementCount(), or(s.GetHost(), "an unknown IOC"))
			return text + settledWords(e, before)
		}
		return "its IOC says: " + words(diffs)
	case "deleted":
		if e.GetDeleted().GetData() {
			return "deleted with its data"
		}
		return "deleted"
	case "defined":
		if from := e.GetDefined().GetFrom(); from != "" {
			return "defined as the new name of " + from
		}
		if before == nil {
			return "defined as " + e.GetDefined().GetState()
		}
		return strings.TrimSuffix("defined anew: "+words(diffs), ": ")
	case "configured", "parameters_changed":
		return words(diffs)
	case "replayed":
		return replayedText(e.GetReplayed())
	case "alias_added":
		return "alias of " + e.GetAliasAdded().GetPv()
	case "retyped":
		text := fmt.Sprintf("its samples were converted to %v", schema.DBRType(e.GetRetyped().GetType()))
		if e.GetRetyped().GetLossy() {
			text += ", values that it cannot hold to the nearest"
		}
		return text
	case "joined":
		return "joined with " + e.GetJoined().GetPv() + ", of which it is an alias now"
	case "alias_removed":
		return "no alias any more"
	}
	return strings.ReplaceAll(kind, "_", " ")
}

// settledWords are what a policy made of a PV that connected.
func settledWords(e *logpb.RegistryEvent, before *schema.TypeInfo) string {
	set := e.GetStarted().GetSettings()
	if set == nil || before == nil {
		return ""
	}
	after := *before
	after.Settings = schema.SettingsOf(set)
	return "; " + words(differences(before, &after))
}
