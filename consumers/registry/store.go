package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
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

// moment is a view of all entries at one moment.
type moment struct{ txn *badger.Txn }

// view gives the present moment to read, for as long as that takes.
func (s *store) view(read func(moment) error) error {
	return s.db.View(func(txn *badger.Txn) error { return read(moment{txn}) })
}

// each visits all entries in the order of their keys. The value is good until
// visit returns.
func (m moment) each(visit func(key string, value []byte) error) error {
	it := m.txn.NewIterator(badger.IteratorOptions{}) // to fetch ahead would start a goroutine for each
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		err := item.Value(func(v []byte) error { return visit(string(item.Key()), v) })
		if err != nil {
			return err
		}
	}
	return nil
}

// meta is the cursor and what belongs to it; the zero value if there is none.
func (m moment) meta() (found meta, err error) {
	item, err := m.txn.Get([]byte(metaKey))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return meta{}, nil
	}
	if err != nil {
		return meta{}, err
	}
	err = item.Value(func(v []byte) error {
		found, err = decodeMeta(v)
		return err
	})
	return found, err
}

// load reads everything and checks it against the meta record.
func (s *store) load() (st state, m meta, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read badger: %v", p)
		}
	}()
	st = newState()
	err = s.view(func(now moment) error {
		if m, err = now.meta(); err != nil {
			return err
		}
		return st.load(now, m)
	})
	if err != nil {
		return state{}, meta{}, fmt.Errorf("load badger: %w", err)
	}
	return st, m, nil
}

// load takes in all records.
func (s *state) load(now moment, m meta) error {
	var sum uint64
	d := newDecoder()
	err := now.each(func(key string, value []byte) error {
		if key == metaKey {
			return nil
		}
		name, ok := strings.CutPrefix(key, pvPrefix)
		if !ok {
			return fmt.Errorf("unknown entry %q", key)
		}
		pv := schema.PVName(name)
		rec, err := d.record(pv, value)
		if err != nil {
			return err
		}
		h := held{rec, hashRecord(pv, value)}
		sum += h.hash
		s.put(pv, h)
		return nil
	})
	if err == nil && (m.Records != len(s.records) || m.Sum != sum) {
		err = fmt.Errorf("%d records with sum %x were read, %d with sum %x were written", len(s.records), sum, m.Records, m.Sum)
	}
	return err
}

// fill writes a whole state, in the order of the keys and with the cursor last:
// until that stands there, load refuses what there is.
func (s *store) fill(records map[schema.PVName]record, m meta, room func() error) error {
	if err := s.clear(); err != nil {
		return err
	}
	batch := s.db.NewWriteBatch()
	defer batch.Cancel()
	for i, pv := range slices.Sorted(maps.Keys(records)) {
		if i%fillStep == 0 {
			if err := room(); err != nil {
				return err
			}
		}
		value, err := records[pv].encode()
		if err == nil {
			err = batch.Set([]byte(pvPrefix+string(pv)), value)
		}
		if err != nil {
			return fmt.Errorf("write badger: %w", err)
		}
		m.Sum += hashRecord(pv, value)
	}
	if err := batch.Flush(); err != nil {
		return fmt.Errorf("write badger: %w", err)
	}
	return s.commit(nil, m)
}

// fillStep is how many records are written before the free space is looked at
// again.
const fillStep = 1000

// clear removes what a fill that failed has left.
func (s *store) clear() error {
	left := false
	err := s.view(func(now moment) error {
		it := now.txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		it.Rewind()
		left = it.Valid()
		return nil
	})
	if err == nil && left {
		err = s.db.DropAll()
	}
	if err != nil {
		return fmt.Errorf("empty badger: %w", err)
	}
	return nil
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
