package web

import (
	"errors"
	"maps"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"pvlog/consumers/retrieval"
	"pvlog/schema"
)

// dataPath is where samples are got; an extension names the format.
const dataPath = "/retrieval/data/getData."

// extensions are the formats that getData knows.
func extensions() []string { return slices.Sorted(maps.Keys(retrieval.Formats)) }

// operator is a post processor around a PV's name: mean_60(PV).
var operator = regexp.MustCompile(`^\s*([A-Za-z]\w*)\s*\(`)

// getData answers the samples of one PV in a format.
func (s *Server) getData(ext string) func(w http.ResponseWriter, r *http.Request) error {
	format := retrieval.Formats[ext]
	return func(w http.ResponseWriter, r *http.Request) error {
		values, err := query(r)
		if err != nil {
			return err
		}
		if err := noOperator(values.Get("pv"), values.Get("pp")); err != nil {
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
		s.visits.count(n.Info.PV, r, time.Now())
		fields := metaFields(n.Info, ext == "raw")
		if values.Get("fetchLatestMetadata") == "true" {
			fields = s.latestMetadata(n.Info)
		}
		meta := retrieval.Meta{PV: n.answerName(), Type: n.Info.DBRType, ElementCount: n.Info.ElementCount, Fields: fields}
		if n.Field != "" {
			meta.Type, meta.ElementCount = retrieval.FieldType(n.Field, n.Info.DBRType), 1
		}
		query := retrieval.Query{PV: n.Info.PV, Key: n.Info.ChunkKey, From: from, To: to, Field: n.Field}
		return s.stream(w, r, format, query, meta)
	}
}

// noOperator refuses what this version cannot compute: raw samples in place of
// means would be wrong data, which the Appliance gives for unknown operators.
func noOperator(pv, pp string) error {
	name := pp
	if m := operator.FindStringSubmatch(pv); m != nil {
		name = m[1]
	}
	if name == "" {
		return nil
	}
	return refuse(schema.Invalid, "ask for pv=NAME without an operator and reduce the samples yourself",
		"operator %q: this version of pvlog serves samples as they were archived", name)
}

// stream waits for its turn and writes the answer as it is read.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, format retrieval.Format, q retrieval.Query, meta retrieval.Meta) error {
	done, err := s.turns.take(r.Context())
	if err != nil {
		return err
	}
	defer done()
	stream, err := s.options.Retrieval.Open(q)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }() // files that were only read
	w.Header().Set("Content-Type", format.ContentType)
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	_, err = format.Write(w, stream, meta)
	if err == nil {
		return nil
	}
	return s.cutOff(w, r, q, err)
}

// cutOff ends an answer that cannot be completed. If nothing was sent yet the
// client gets the error; otherwise its connection is cut, because an ordinary
// end would make part of the samples look like all of them.
func (s *Server) cutOff(w http.ResponseWriter, r *http.Request, q retrieval.Query, err error) error {
	a, counted := w.(*answer)
	_, lost := errors.AsType[*retrieval.WriteError](err)
	if counted && a.status == 0 && !lost {
		w.Header().Del("Content-Type")
		return err
	}
	s.metrics.aborted.Inc()
	if lost { // clients may hang up once they have seen enough
		s.logger.Debug("client went away", "path", r.URL.Path, "pv", q.PV, "err", err)
	} else {
		s.logger.Error("retrieval failed, the answer was cut off", "path", r.URL.Path, "pv", q.PV, "err", err)
	}
	panic(http.ErrAbortHandler)
}

// unknownPath says what there is instead.
func (s *Server) unknownPath(asked string) error {
	if dir, name := path.Split(asked); dir == "/retrieval/data/" {
		method, ext, _ := strings.Cut(name, ".")
		if method == "getData" {
			return refuse(schema.NotFound, "use one of getData."+strings.Join(extensions(), ", getData."),
				"getData cannot answer as %q", ext)
		}
	}
	return refuse(schema.NotFound, "GET / lists the paths", "there is no %s here", asked).with("paths", s.names)
}

// with adds a key to the body.
func (r *refusal) with(name string, val any) *refusal {
	if r.fields == nil {
		r.fields = make(map[string]any)
	}
	r.fields[name] = val
	return r
}
