package registry

import (
	"context"
	"crypto/rand"
	"regexp"
	"strings"
	"time"

	"pvlog/schema"
)

// idTime is how the time stands in front of a change's id.
const idTime = "20060102T150405"

// clockSlack is by how much the clocks may differ of who makes an id or an
// event and of the log's server.
const clockSlack = time.Minute

// NewChangeID makes an id for a command that begins at a time, such as
// 20261125T083015-k3x9q7: who keeps it can repeat the command, watch it
// ([Registry.Change]) and take it back ([Registry.UndoChange]).
func NewChangeID(t time.Time) string {
	return t.UTC().Format(idTime) + "-" + strings.ToLower(rand.Text()[:6])
}

var changeIDs = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)

func checkChangeID(id string) error {
	if !changeIDs.MatchString(id) {
		return schema.Errorf(schema.Invalid, "change id %.120q: use 1 to 100 letters, digits, '.', '_' and '-'", id)
	}
	return nil
}

// before is a sequence that no event of a change stands before: by the time in
// its id, or 1 if there is none.
func (r *Registry) before(ctx context.Context, id string) (uint64, error) {
	if len(id) < len(idTime) {
		return 1, nil
	}
	t, err := time.Parse(idTime, id[:len(idTime)])
	if err != nil {
		return 1, nil
	}
	seq, err := r.events.Since(ctx, t.Add(-clockSlack))
	if err != nil {
		return 0, notStored(err)
	}
	return max(seq, 1), nil
}
