package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/dgraph-io/badger/v4"
	badgeroptions "github.com/dgraph-io/badger/v4/options"

	"pvlog/schema"
)

// Keys of Badger: one record per PV (and per name beside the PVs) that ever had
// an event, and the cursor.
const (
	pvPrefix = "pv/"
	metaKey  = "meta/cursor"
)

// Badger maps sparse files, and a full disk kills a process that writes into
// such a hole: so its files are small (design D5).
const (
	memTableBytes = 4 << 20
	valueLogBytes = 4 << 20
)

// store is the Badger folder. Only Run's goroutine writes.
type store struct {
	db *badger.DB
}

func badgerOptions(dir string, log *slog.Logger) badger.Options {
	return badger.DefaultOptions(dir).
		WithLogger(badgerLog{log}).
		WithMemTableSize(memTableBytes).
		WithValueLogFileSize(valueLogBytes).
		WithValueThreshold(4 * maxRecordBytes). // records stay in the tables
		WithBaseTableSize(1 << 20).
		WithBaseLevelSize(4 << 20).
		WithNumMemtables(2).
		WithNumLevelZeroTables(2).
		WithNumLevelZeroTablesStall(4).
		WithNumCompactors(2).
		WithNumGoroutines(2).
		WithCompression(badgeroptions.None). // needs no block cache then
		WithBlockCacheSize(0).
		WithIndexCacheSize(0).
		WithDetectConflicts(false). // one writer
		WithMetricsEnabled(false).
		WithSyncWrites(false). // what a power cut takes is in the event log
		WithChecksumVerificationMode(badgeroptions.OnTableAndBlockRead)
}

// openBadger opens the folder. Badger panics on some damaged files.
func openBadger(dir string, log *slog.Logger) (s *store, err error) {
	defer func() {
		if p := recover(); p != nil {
			s, err = nil, fmt.Errorf("open badger %s: %v", dir, p)
		}
	}()
	db, err := badger.Open(badgerOptions(dir, log))
	if err != nil {
		return nil, fmt.Errorf("open badger %s: %w", dir, err)
	}
	return &store{db: db}, nil
}

// notDamage reports whether Badger's refusal to open has a cause outside the
// folder's contents, so that moving it aside would not help. Badger gives
// these errors as text only.
func notDamage(err error) bool {
	for _, text := range []string{
		"Cannot acquire directory lock", "no space left on device", "permission denied",
		"read-only file system", "too many open files", "cannot allocate memory", "disk quota exceeded",
	} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}

// load reads everything and checks it against the meta record.
func (s *store) load() (st state, m meta, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read badger: %v", p)
		}
	}()
	st = newState()
	var sum uint64
	err = s.each(func(key string, value []byte) error {
		if key == metaKey {
			m, err = decodeMeta(value)
			return err
		}
		name, ok := strings.CutPrefix(key, pvPrefix)
		if !ok {
			return fmt.Errorf("unknown entry %q", key)
		}
		pv := schema.PVName(name)
		rec, err := decodeRecord(pv, value)
		if err != nil {
			return err
		}
		h := held{rec, hashRecord(pv, value)}
		sum += h.hash
		st.put(pv, h)
		return nil
	})
	if err == nil && (m.Records != len(st.records) || m.Sum != sum) {
		err = fmt.Errorf("%d records with sum %x were read, %d with sum %x were written", len(st.records), sum, m.Records, m.Sum)
	}
	if err != nil {
		return state{}, meta{}, fmt.Errorf("load badger: %w", err)
	}
	return st, m, nil
}

// each reads all entries of one moment in the order of their keys.
func (s *store) each(visit func(key string, value []byte) error) error {
	return s.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			item := it.Item()
			err := item.Value(func(v []byte) error { return visit(string(item.Key()), v) })
			if err != nil {
				return err
			}
		}
		return nil
	})
}

var errTooBig = errors.New("transaction too big")

// commit writes records and meta in one transaction: both or none.
func (s *store) commit(values map[schema.PVName][]byte, m meta) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode cursor: %w", err)
	}
	err = s.db.Update(func(txn *badger.Txn) error {
		for pv, value := range values {
			if err := txn.Set([]byte(pvPrefix+string(pv)), value); err != nil {
				return err
			}
		}
		return txn.Set([]byte(metaKey), b)
	})
	if errors.Is(err, badger.ErrTxnTooBig) {
		return errTooBig
	}
	if err != nil {
		return fmt.Errorf("write badger: %w", err)
	}
	return nil
}

// compact lets Badger drop value log files that hold little, if there are any.
func (s *store) compact() error {
	err := s.db.RunValueLogGC(0.5)
	if errors.Is(err, badger.ErrNoRewrite) || errors.Is(err, badger.ErrRejected) {
		return nil
	}
	return err
}

// bytes is the size of the tables, as of the last minute.
func (s *store) bytes() int64 {
	tables, _ := s.db.Size()
	return tables
}

// badgerLog gives Badger's lines to slog; its information is our debugging.
type badgerLog struct{ log *slog.Logger }

func (b badgerLog) line(format string, args []any) string {
	return "badger: " + strings.TrimSpace(fmt.Sprintf(format, args...))
}
func (b badgerLog) Errorf(format string, args ...any)   { b.log.Error(b.line(format, args)) }
func (b badgerLog) Warningf(format string, args ...any) { b.log.Warn(b.line(format, args)) }
func (b badgerLog) Infof(format string, args ...any)    { b.log.Debug(b.line(format, args)) }
func (b badgerLog) Debugf(format string, args ...any)   { b.log.Debug(b.line(format, args)) }
