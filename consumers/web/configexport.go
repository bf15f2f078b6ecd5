package web

import (
	"bufio"
	"encoding/json"
	"net/http"

	"pvlog/schema"
)

// exportAll answers the PVTypeInfos of all PVs that have connected, as the
// Appliance's exportConfig does; aliases it answers by getAllAliases. With
// complete=true PVs that never connected (DBRType is DBR_UNKNOWN) and aliases
// (aliasName, srcPVName) stand in the array as well: importConfig takes all of
// it.
func (s *Server) exportAll(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r)
	if err != nil {
		return err
	}
	complete, err := flagOf(values, "complete")
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	list := &objects{w: bufio.NewWriter(w)}
	for _, info := range s.options.Registry.All() {
		if complete || info.DBRType != schema.UnknownType {
			list.add(s.typeInfo(info))
		}
	}
	if complete {
		for _, a := range s.options.Registry.Aliases() {
			list.add(map[string]string{"aliasName": string(a.Alias), "srcPVName": string(a.PV)})
		}
	}
	list.end()
	return nil
}

// objects is a JSON array that is written item by item, each on a line of its
// own: it may be large.
type objects struct {
	w     *bufio.Writer
	begun bool
}

// Errors of writing are those of a client that has gone.

func (o *objects) add(object any) {
	begin := "[\n"
	if o.begun {
		begin = ",\n"
	}
	o.begun = true
	_, _ = o.w.WriteString(begin)
	e := json.NewEncoder(o.w)
	e.SetEscapeHTML(false)
	_ = e.Encode(object) // texts, lists and maps of them
}

func (o *objects) end() {
	if !o.begun {
		_, _ = o.w.WriteString("[")
	}
	_, _ = o.w.WriteString("]\n")
	_ = o.w.Flush()
}
