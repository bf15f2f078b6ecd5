package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"pvlog/schema"
	"pvlog/schema/logpb"
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
	have := map[string][]byte{}
	err := r.store.each(func(key string, value []byte) error {
		have[key] = append([]byte(nil), value...)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read badger: %w", err)
	}
	var m meta
	if b := have[metaKey]; b != nil {
		if m, err = decodeMeta(b); err != nil {
			return err
		}
	}
	want, err := r.replay(ctx, m.Cursor)
	if err != nil {
		return err
	}
	return compare(want, have)
}

// replay computes all keys and values that events 1 to cursor give.
func (r *Registry) replay(ctx context.Context, cursor uint64) (map[string][]byte, error) {
	want := map[string][]byte{}
	if cursor == 0 {
		return want, nil
	}
	scratch := New(Options{Dir: r.opt.Dir, Events: r.events})
	var batch []followed
	fold := func() {
		next, values, m := scratch.fold(batch)
		for pv, h := range next {
			scratch.state.put(pv, h)
			want[pvPrefix+string(pv)] = values[pv]
		}
		scratch.meta, batch = m, batch[:0]
	}
	end := errors.New("end")
	err := r.events.Follow(ctx, 1, func(seq uint64, e *logpb.RegistryEvent, _ bool) error {
		if seq <= cursor {
			batch = append(batch, followed{seq, e})
		}
		if len(batch) == maxBatchEvents || seq >= cursor {
			fold()
		}
		if seq >= cursor {
			return end
		}
		return nil
	})
	if !errors.Is(err, end) {
		return nil, fmt.Errorf("replay the event log: %w", errors.Join(err, ctx.Err()))
	}
	b, err := json.Marshal(scratch.meta)
	if err != nil {
		return nil, fmt.Errorf("encode cursor: %w", err)
	}
	want[metaKey] = b
	return want, nil
}

func compare(want, have map[string][]byte) error {
	for key, value := range want {
		if got, ok := have[key]; !ok || string(got) != string(value) {
			return fmt.Errorf("entry %q: badger has %q, the log gives %q", key, got, value)
		}
	}
	for key := range have {
		if _, ok := want[key]; !ok {
			return fmt.Errorf("entry %q: badger has it, the log does not", key)
		}
	}
	return nil
}
