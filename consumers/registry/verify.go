package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"pvlog/schema"
)

// Verify replays the log from its first event up to the cursor and compares
// the result with Badger, key by key and byte by byte. It may run at any time;
// the error names the first difference.
func (r *Registry) Verify(ctx context.Context) error {
	r.storeMu.RLock()
	defer r.storeMu.RUnlock()
	if r.store == nil {
		return schema.Errorf(schema.Unavailable, "the registry is not open")
	}
	return r.store.view(func(now moment) error {
		m, err := now.meta()
		if err != nil {
			return fmt.Errorf("read badger: %w", err)
		}
		want, err := r.replay(ctx, m.Cursor, func(followed, string) {}) // told when it was followed
		if err != nil {
			return fmt.Errorf("replay the event log: %w", err)
		}
		return compare(now, want)
	})
}

// compare tells the first difference between Badger and what the log gives.
func compare(now moment, want *sum) error {
	total := want.meta(meta{})
	var cursor []byte
	seen := 0
	err := now.each(func(key string, have []byte) error {
		if key == metaKey {
			cursor = bytes.Clone(have)
			return nil
		}
		name, ok := strings.CutPrefix(key, pvPrefix)
		rec, known := want.records[schema.PVName(name)]
		if !ok || !known {
			return fmt.Errorf("entry %q: badger has it, the log does not", key)
		}
		value, err := rec.encode()
		if err != nil {
			return err
		}
		if !bytes.Equal(value, have) {
			return differs(key, have, value)
		}
		total.Sum += hashRecord(schema.PVName(name), value)
		seen++
		delete(want.records, schema.PVName(name))
		return nil
	})
	if err != nil {
		return err
	}
	for pv := range want.records {
		return fmt.Errorf("entry %q: the log gives it, badger does not have it", pvPrefix+string(pv))
	}
	return compareCursor(cursor, total, seen)
}

func compareCursor(have []byte, total meta, records int) error {
	if have == nil && records == 0 {
		return nil // nothing has ever happened
	}
	value, err := json.Marshal(total)
	if err != nil {
		return fmt.Errorf("encode cursor: %w", err)
	}
	if !bytes.Equal(value, have) {
		return differs(metaKey, have, value)
	}
	return nil
}

func differs(key string, have, want []byte) error {
	return fmt.Errorf("entry %q: badger has %q, the log gives %q", key, have, want)
}
