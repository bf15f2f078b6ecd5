package appliance

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
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
		within("drops.keep", c.Drops.Keep, 0, ages), within("drops.max_bytes", c.Drops.MaxBytes, 0, bytesMax),
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
	if len(c.Stores) != 1 {
		return schema.Errorf(schema.Invalid, "stores: name exactly one store; this version does not move data between stores")
	}
	s := c.Stores[0]
	if !storeName.MatchString(s.Name) {
		return schema.Errorf(schema.Invalid, "stores: name %q: letters, digits, _ and - make a name, as STS", s.Name)
	}
	if _, err := partition.ParseGranularity(s.Granularity); err != nil {
		return fmt.Errorf("stores: %s: %w", s.Name, err)
	}
	return nil
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
