package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"pvlog/schema"
)

// detail is one line of getPVDetails and of the metrics of the appliance.
// Clients look lines up by their exact name.
type detail struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"` // mgmt, pv, CA, engine, RETRIEVAL, ETL
}

// details gathers lines of one source.
type details struct {
	source string
	lines  []detail
}

func (d *details) add(name, value string) { d.lines = append(d.lines, detail{name, value, d.source}) }

func (d *details) addInt(name string, n uint64) { d.add(name, strconv.FormatUint(n, 10)) }

// jsonText is v as JSON inside of a text.
func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil { // cannot happen with what this package encodes
		return ""
	}
	return string(b)
}

// yes is a condition in the words of details; other parts of the Appliance
// begin them with a capital.
func yes(is bool, word, otherwise string) string {
	if is {
		return word
	}
	return otherwise
}

// getPVDetails answers the lines of all parts.
func (s *Server) getPVDetails(w http.ResponseWriter, _ url.Values, n named) error {
	p := s.standing(n.Info)
	lines := append(s.registryDetails(n), s.engineDetails(p)...)
	lines = append(lines, s.retrievalDetails(n.Info.PV)...)
	stored, err := s.storeDetails(n.Info)
	if err != nil {
		return err
	}
	return writeList(w, append(lines, stored...))
}

// registryDetails are the lines of what the registry knows.
func (s *Server) registryDetails(n named) []detail {
	info, d := n.Info, details{source: "mgmt"}
	d.add("PV Name", string(info.PV))
	d.add("Instance archiving PV", s.options.Identity)
	d.add("Archival params creation time:", reportTime(info.Created))
	d.add("Archival params modification time:", reportTime(info.Modified))
	d.add("Archiver DBR type (from typeinfo):", info.DBRType.String())
	d.add("Is this a scalar:", yes(!info.DBRType.Waveform(), "Yes", "No"))
	d.add("Number of elements:", strconv.Itoa(info.ElementCount))
	d.add("Precision:", javaFloat(float64(info.Precision)))
	d.add("Units:", info.Units)
	d.add("Is this PV paused:", yes(info.State != schema.Archiving, "Yes", "No"))
	d.add("Sampling method:", string(info.SamplingMethod))
	d.add("Sampling period:", javaFloat(info.SamplingPeriod.Seconds()))
	d.add("Are we using PVAccess?", "No")
	for _, field := range []string{"MDEL", "ADEL", "SCAN", "RTYP"} {
		if val := info.Fields[field]; val != "" {
			d.add("Extra info - "+field+":", val)
		}
	}
	d.add("Archive Fields", strings.Join(info.ArchiveFields, ","))
	d.add("Policy", info.Policy)
	d.add("State", string(info.State))
	if info.Deadband > 0 {
		d.add("Deadband", plain(info.Deadband))
	}
	if aliases := s.options.Registry.AliasesOf(info.PV); len(aliases) > 0 {
		d.add("Aliases", strings.Trim(fmt.Sprint(aliases), "[]"))
	}
	return d.lines
}

// retrievalDetails are the lines of what was asked for; "" is all PVs.
func (s *Server) retrievalDetails(pv schema.PVName) []detail {
	d := details{source: "RETRIEVAL"}
	requests, users, last := s.visits.of(pv)
	d.add("Number of Retrieval Requests", strconv.Itoa(requests))
	d.add("Time of last Retrieval Request", reportTime(last))
	d.add("Number of unique users", strconv.Itoa(users))
	return d.lines
}

// storeDetails are the lines of what the stores hold of a PV.
func (s *Server) storeDetails(info *schema.TypeInfo) ([]detail, error) {
	d := details{source: "ETL"}
	d.add("Name (from ETL)", string(info.PV))
	for _, store := range s.options.Retrieval.Stores() {
		files, err := store.Partitions(info.ChunkKey)
		if err != nil {
			return nil, fmt.Errorf("list the partitions of %s in %s: %w", info.PV, store.Name, err)
		}
		var bytes uint64
		for _, f := range files {
			bytes += uint64(f.Size)
		}
		d.add(store.Name+" partition granularity", fmt.Sprint(store.Granularity))
		d.addInt(store.Name+" partitions", uint64(len(files)))
		d.addInt(store.Name+" bytes", bytes)
	}
	return d.lines, nil
}
