package web

import (
	"context"
	"net/http"
	"strconv"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// Partitions are what requests about a PV's files need of the archive; what is
// nil is refused.
type Partitions struct {
	// Verify reads all of a PV's partitions; of each file at most limit problems
	// are told.
	Verify func(ctx context.Context, pv schema.PVName, limit int) ([]CheckedFile, error)
	// Repair takes out of them what can be, with future also what lies further in
	// the future than the PV's window; with dry it only says what it would.
	Repair func(ctx context.Context, pv schema.PVName, dry, future bool) ([]*partition.Repair, error)
	// Adopt takes files of another archive into the stores.
	Adopt func(ctx context.Context, pv schema.PVName, files []string, o AdoptOptions) ([]AdoptedFile, error)
	// Merge merges the samples of a file into the PV's partitions.
	Merge func(ctx context.Context, pv schema.PVName, file string) (Merged, error)
}

// CheckedFile is a partition that was read.
type CheckedFile struct {
	Store    string
	Report   partition.Report
	Problems []partition.Problem
}

// maxProblems bounds the problems that are told of one file.
const maxProblems = 1000

// partitionRoutes are the requests about a PV's files.
func (s *Server) partitionRoutes() []*route {
	return []*route{
		{method: http.MethodGet, path: "/api/v1/pvs/{pv}/verify", query: "max=20", summary: "everything that is wrong with a PV's partitions", handle: s.verifyPV},
		{method: http.MethodPost, path: "/api/v1/pvs/{pv}/repair", changes: true, query: "future=true&dry_run=true", summary: "take out of a PV's partitions what is wrong with them; no sample that can be read is lost", handle: s.repairPV},
		{method: http.MethodPost, path: "/api/v1/pvs/{pv}/import", changes: true, query: "reason=TEXT", summary: "adopt partition files of another archive on the server's machine", handle: s.importPV},
	}
}

// checkedJSON is a partition that was read.
type checkedJSON struct {
	Path     string              `json:"path"`
	Store    string              `json:"store,omitempty"`
	PV       schema.PVName       `json:"pv,omitempty"`
	Type     string              `json:"type,omitempty"`
	Year     int                 `json:"year,omitempty"`
	Bytes    int64               `json:"bytes"`
	Samples  int                 `json:"samples"`
	First    string              `json:"first,omitempty"`
	Last     string              `json:"last,omitempty"`
	Counts   map[string]int      `json:"counts"`
	Problems []partition.Problem `json:"problems"`
}

func (c CheckedFile) json() checkedJSON {
	r := c.Report
	o := checkedJSON{Path: r.Path, Store: c.Store, Bytes: r.Size, Samples: r.Samples, Counts: countsJSON(r.Problems), Problems: c.Problems}
	if o.Problems == nil {
		o.Problems = []partition.Problem{}
	}
	if r.HasHeader {
		o.PV, o.Type, o.Year = r.Header.PV, r.Header.Type.String(), r.Header.Year
	}
	if r.Samples > 0 {
		o.First, o.Last = r.First.String(), r.Last.String()
	}
	return o
}

func countsJSON(problems map[partition.Kind]int) map[string]int {
	counts := make(map[string]int, len(problems))
	for kind, n := range problems {
		counts[string(kind)] = n
	}
	return counts
}

// registeredPV is the PV that a path names, by its name or an alias.
func (s *Server) registeredPV(r *http.Request) (schema.PVName, error) {
	name, err := schema.ParsePVName(r.PathValue("pv"))
	if err != nil {
		return "", err
	}
	name = s.realName(name)
	if _, ok := s.options.Registry.Get(name); !ok {
		return "", refuse(schema.NotFound, "GET /api/v1/pvs lists what is registered", "PV %s is not registered", name)
	}
	return name, nil
}

// noFiles is the error of a server without an archive.
func noFiles() error {
	return refuse(schema.Unavailable, "ask the server that archives the PV", "this server has no partitions")
}

func (s *Server) verifyPV(w http.ResponseWriter, r *http.Request) error {
	values, err := parameters(r, "max")
	if err != nil {
		return err
	}
	limit := 20
	if text := values.Get("max"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 0 || limit > maxProblems {
			return refuse(schema.Invalid, "give a number from 0 to "+strconv.Itoa(maxProblems), "max=%q is no number of problems", text)
		}
	}
	pv, err := s.registeredPV(r)
	if err != nil {
		return err
	}
	if s.options.Partitions.Verify == nil {
		return noFiles()
	}
	release, err := s.replay(r)
	if err != nil {
		return err
	}
	defer release()
	checked, err := s.options.Partitions.Verify(r.Context(), pv, limit)
	if err != nil {
		return err
	}
	files := make([]checkedJSON, len(checked))
	for i, c := range checked {
		files[i] = c.json()
	}
	writeJSON(w, http.StatusOK, map[string]any{"pv": pv, "files": files})
	return nil
}

// repairedJSON is what became of a partition.
type repairedJSON struct {
	Path       string         `json:"path"`
	Repaired   bool           `json:"repaired"`
	Samples    int            `json:"samples"`
	Sorted     int            `json:"sorted"`
	Duplicates int            `json:"duplicates"`
	Recovered  int            `json:"recovered"`
	SetAside   int            `json:"set_aside"`
	Whole      bool           `json:"whole,omitempty"`
	Backup     string         `json:"backup,omitempty"`
	Side       string         `json:"side_file,omitempty"`
	HeaderFrom string         `json:"header_from,omitempty"`
	Refused    string         `json:"refused,omitempty"`
	Counts     map[string]int `json:"counts"`
	Left       map[string]int `json:"left"`
}

func (s *Server) repairPV(w http.ResponseWriter, r *http.Request) error {
	values, err := parameters(r, "dry_run", "future")
	if err != nil {
		return err
	}
	dry, err := flagOf(values, "dry_run")
	if err != nil {
		return err
	}
	future, err := flagOf(values, "future")
	if err != nil {
		return err
	}
	pv, err := s.registeredPV(r)
	if err != nil {
		return err
	}
	if s.options.Partitions.Repair == nil {
		return noFiles()
	}
	done, err := s.options.Partitions.Repair(r.Context(), pv, dry, future)
	if err != nil {
		return err
	}
	files := make([]repairedJSON, len(done))
	for i, f := range done {
		files[i] = repairedJSON{Path: f.Path, Repaired: f.Needed(), Samples: f.Before.Samples, Sorted: f.Sorted, Duplicates: f.Duplicates,
			Recovered: f.Recovered, SetAside: f.SetAside, Whole: f.Whole, Backup: f.Backup, Side: f.Side, HeaderFrom: f.HeaderFrom, Refused: f.Refused,
			Counts: countsJSON(f.Before.Problems), Left: countsJSON(f.Left())}
	}
	writeJSON(w, http.StatusOK, map[string]any{"pv": pv, "dry_run": dry, "future": future, "files": files})
	return nil
}
