package streams

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// standing is what the streams on the disk hold and may hold, by name, before
// the server is started. It is read from the server's own files: the server
// reserves the limit that stands there before anybody can lower it, and refuses
// each stream for which that does not fit (jetStream.checkBytesLimits).
type standing map[string]stood

// stood is one stream of it.
type stood struct {
	bytes int64 // of its messages' files; more than the messages in them
	limit int64 // bytes that it may hold; 0: none of its own
}

// standing looks at the streams' folders; none before the first start. A
// description that cannot be read counts as one without a limit: those of our
// own streams were put back before if they were damaged (checkMeta), and one of
// another stream is for the server to judge.
func (l *Log) standing() standing {
	has := standing{}
	root := l.streamDir("")
	entries, _ := os.ReadDir(root)
	for _, e := range entries {
		dir := filepath.Join(root, e.Name())
		var config struct {
			MaxBytes int64 `json:"max_bytes"`
		}
		if b, err := os.ReadFile(filepath.Join(dir, "meta.inf")); err != nil || json.Unmarshal(b, &config) != nil {
			config.MaxBytes = 0
		}
		has[e.Name()] = stood{bytes: usedBytes(filepath.Join(dir, "msgs")), limit: max(config.MaxBytes, 0)}
	}
	return has
}

// needs is the lowest limit that leaves a stream what it holds and some room.
// It is not above the limit it had, or each start would add to that of the one
// before, and not below the room.
func (s stood) needs(room int64) int64 {
	if s.limit == 0 {
		return 0
	}
	return max(min(s.bytes+room, s.limit), room)
}

// reserved is what the server must be able to reserve while the streams go from
// their limits to the planned ones, one after the other.
func (has standing) reserved(planned map[string]int64) int64 {
	var sum int64
	for name, s := range has {
		sum += max(s.limit, planned[name])
	}
	for name, limit := range planned {
		if _, ok := has[name]; !ok {
			sum += limit
		}
	}
	return sum
}
