package web

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"pvlog/consumers/retrieval"
	"pvlog/schema"
)

// engineStatus answers getPVStatus without what the engine does not know.
func (s *Server) engineStatus(w http.ResponseWriter, r *http.Request) error {
	l, err := readListing(r)
	if err != nil {
		return err
	}
	targets, _ := s.targets(l)
	if len(targets) == 0 {
		return missingPV()
	}
	list := newArray(w)
	for _, t := range targets {
		item := s.statusOf(t)
		delete(item, "appliance")
		delete(item, "pvNameOnly")
		list.add(item)
	}
	list.end()
	return nil
}

// engineMetadata answers the newest units, limits, labels and fields.
func (s *Server) engineMetadata(w http.ResponseWriter, _ url.Values, n named) error {
	if err := typed(n.Info); err != nil {
		return err
	}
	body := map[string]string{}
	for _, f := range s.latestMetadata(n.Info) {
		body[f.Name] = f.Val
	}
	writeJSON(w, http.StatusOK, body)
	return nil
}

func (s *Server) enginePVDetails(w http.ResponseWriter, _ url.Values, n named) error {
	return writeList(w, s.engineDetails(s.standing(n.Info)))
}

func (s *Server) retrievalPVDetails(w http.ResponseWriter, _ url.Values, n named) error {
	return writeList(w, s.retrievalDetails(n.Info.PV))
}

func (s *Server) storePVDetails(w http.ResponseWriter, _ url.Values, n named) error {
	lines, err := s.storeDetails(n.Info)
	if err != nil {
		return err
	}
	return writeList(w, lines)
}

// retrievalMetrics answers the numbers of requests for samples.
func (s *Server) retrievalMetrics(w http.ResponseWriter, values url.Values) error {
	if err := s.mine(values); err != nil {
		return err
	}
	return writeList(w, s.retrievalDetails(""))
}

// channelDetails answers everything that is known of a PV's channel.
func (s *Server) channelDetails(w http.ResponseWriter, _ url.Values, n named) error {
	p := s.standing(n.Info)
	if !p.running {
		return refuse(schema.NotFound, "look at /mgmt/bpl/getPVStatus: it may be paused", "the engine has no channel for %s", n.Info.PV)
	}
	body := map[string]string{}
	for _, line := range s.engineDetails(p) {
		body[line.Name] = line.Value
	}
	writeJSON(w, http.StatusOK, map[string]any{"channel": body})
	return nil
}

// unwritten answers the samples that are not in a file yet, as getData.raw. Of
// a PV that is disconnected the header says since when.
func (s *Server) unwritten(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r)
	if err != nil {
		return err
	}
	n, err := s.resolveOne(values)
	if err != nil {
		return err
	}
	from, to, err := rangeOf(values, time.Now())
	if err != nil {
		return err
	}
	fields := metaFields(n.Info, true)
	if p := s.standing(n.Info); p.running && !p.channel.Connected && !p.channel.LostAt.IsZero() {
		fields = append(fields, schema.FieldValue{Name: "cnxlostepsecs", Val: strconv.FormatInt(p.channel.LostAt.Unix(), 10)})
	}
	meta := retrieval.Meta{PV: n.Info.PV, Type: n.Info.DBRType, ElementCount: n.Info.ElementCount, Fields: fields}
	q := retrieval.Query{PV: n.Info.PV, Key: n.Info.ChunkKey, From: from, To: to, Unwritten: true}
	return s.stream(w, r, retrieval.Formats["raw"], q, meta)
}

// clientConfig answers a file that clients keep on the server: none is kept.
func (s *Server) clientConfig(http.ResponseWriter, url.Values) error {
	return refuse(schema.NotFound, "keep the file with the client", "pvlog keeps no configuration files of clients")
}
