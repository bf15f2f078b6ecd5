package appliance

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// Check refuses what could not run, all of it at once, by the names of the
// settings.
func (c *Config) Check() error {
	errs := []error{checkAddress("http", c.HTTP)}
	if c.NATS != "off" {
		errs = append(errs, checkAddress("nats", c.NATS))
	}
	if c.Data == "" {
		errs = append(errs, schema.Errorf(schema.Invalid, "data: name the data directory"))
	}
	_, mask := c.mask()
	errs = append(errs, c.Log.check(),
		within("drops.keep", c.Drops.Keep, 0, ages), checkDropBytes(c.Drops.MaxBytes),
		c.CA.check(), mask,
		within("archive.time_limit", c.Archive.TimeLimit, 0, ages),
		checkDrift("drift.past", c.Drift.Past), checkDrift("drift.future", c.Drift.Future),
		c.checkStores())
	return errors.Join(errs...)
}

// ages bounds durations, bytesMax sizes; messageMax is what the archive's
// bookkeeping of a message's samples can count.
const (
	ages       = 100 * 365 * 24 * time.Hour
	bytesMax   = int64(1) << 60
	messageMax = 1 << 20
)

func (l *LogConfig) check() error {
	var durability error
	if l.Durability != "flush" && l.Durability != "async" && l.Durability != "always" {
		durability = schema.Errorf(schema.Invalid, "log.durability %q: use flush, async or always", l.Durability)
	}
	return errors.Join(durability,
		within("log.sync_interval", l.SyncInterval, 0, time.Hour), within("log.keep", l.Keep, 0, ages),
		within("log.max_bytes", l.MaxBytes, 0, bytesMax), within("log.limit_bytes", l.LimitBytes, 0, bytesMax),
		within("log.immediate_rate", l.ImmediateRate, 0, 1e9), within("log.linger", l.Linger, -ages, time.Minute),
		within("log.max_wait", l.MaxWait, 0, ages), within("log.message_bytes", l.MessageBytes, 0, messageMax),
		within("log.waiting_bytes", l.WaitingBytes, 0, bytesMax))
}

// checkDropBytes takes 0, a share of the file system, or what the drop log needs.
func checkDropBytes(n int64) error {
	if n == 0 {
		return nil
	}
	return within("drops.max_bytes", n, 1<<20, bytesMax)
}

func within[T cmp.Ordered](name string, value, low, high T) error {
	if value >= low && value <= high {
		return nil
	}
	return schema.Errorf(schema.Invalid, "%s %v: use %v to %v", name, value, low, high)
}

// checkDrift takes what the envelope of a sample can hold: whole seconds.
func checkDrift(name string, window time.Duration) error {
	if window%time.Second != 0 {
		return schema.Errorf(schema.Invalid, "%s %v: use whole seconds", name, window)
	}
	return within(name, window, time.Second, ages)
}

// storeName is one folder's name.
var storeName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func (c *Config) checkStores() error {
	if len(c.Stores) == 0 {
		return schema.Errorf(schema.Invalid, "stores: name at least one store, that which samples are appended to")
	}
	for i, s := range c.Stores {
		if err := c.checkStore(s, c.Stores[:i]); err != nil {
			return err
		}
	}
	return nil
}

// checkStore refuses a store that cannot stand behind those before it.
func (c *Config) checkStore(s StoreConfig, before []StoreConfig) error {
	if !storeName.MatchString(s.Name) {
		return schema.Errorf(schema.Invalid, "stores: name %q: letters, digits, _ and - make a name, as STS", s.Name)
	}
	g, err := partition.ParseGranularity(s.Granularity)
	if err != nil {
		return fmt.Errorf("stores: %s: %w", s.Name, err)
	}
	for _, o := range before {
		if o.Name == s.Name {
			return schema.Errorf(schema.Invalid, "stores: %s stands there twice", s.Name)
		}
		if finer, err := partition.ParseGranularity(o.Granularity); err == nil && g.Next(0) < finer.Next(0) { // as long as January 1970
			return schema.Errorf(schema.Invalid, "stores: %s (%s) stands behind %s (%s): name them from fine to coarse", s.Name, g, o.Name, finer)
		}
		if shared, err := nested(c.root(o), c.root(s)); err != nil || shared {
			return schema.Errorf(schema.Invalid, "stores: %s and %s share the folder %s: each needs its own", o.Name, s.Name, c.root(s))
		}
	}
	return nil
}

// nested reports whether one of two folders is the other or in it.
func nested(a, b string) (bool, error) {
	a, errA := filepath.Abs(a)
	b, errB := filepath.Abs(b)
	slash := string(filepath.Separator)
	return strings.HasPrefix(a+slash, b+slash) || strings.HasPrefix(b+slash, a+slash), errors.Join(errA, errB)
}

func checkAddress(name, address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return schema.Errorf(schema.Invalid, "%s address %q: write host:port, as 127.0.0.1:17665 (port 0 picks a free one)", name, address)
	}
	return nil
}
