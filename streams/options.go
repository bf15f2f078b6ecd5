package streams

import (
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/schema"
)

// The names of the streams, of the archive's consumer, and the first token of
// each stream's subjects.
const (
	SamplesStream  = "SAMPLES"
	RegistryStream = "REGISTRY"
	DropsStream    = "DROPS"
	ArchiveName    = "archive"

	SamplesPrefix  = "samples"
	RegistryPrefix = "registry"
	DropsPrefix    = "drops"
)

// The durabilities that Options can name (design D8).
const (
	Flush  = "flush"  // handed to the operating system before it is acknowledged
	Async  = "async"  // a crash may lose the last milliseconds
	Always = "always" // fsynced before it is acknowledged
)

// Options configures a Log. The zero value of a field is its default.
type Options struct {
	Dir    string // data directory of the log; it must be given
	Listen string // host:port for NATS clients, port 0 picks a free one; "" = no listener

	Durability   string        // Flush, Async or Always; default Flush
	SyncInterval time.Duration // how often the log is fsynced; default 100 ms

	Keep       time.Duration // how long archived samples stay; default 24 h
	MaxBytes   int64         // bytes of archived samples that stay; default a fifth of the file system
	LimitBytes int64         // where SAMPLES is full, at least 1.5 x MaxBytes; default half of what is free

	Linger        time.Duration // longest pause between rounds under load; default 500 ms, negative = none
	MaxWait       time.Duration // a sample that waits longer to be published is an alarm; default 2 s
	MessageBytes  int           // most bytes of a message of several samples; default 256 KiB
	ImmediateRate float64       // messages/s up to which each sample travels at once; default 2,000
	WaitingBytes  int64         // bytes that may wait to be published; default 64 MiB

	DropsKeep     time.Duration // how long drops are kept; default 30 days
	DropsMaxBytes int64         // bytes of drops kept, oldest leave first; default a share of the file system

	Logger     *slog.Logger          // default: nothing is logged
	Registerer prometheus.Registerer // default: metrics are kept but not shown

	batchTimeout time.Duration // after which the server forgets an idle batch; tests shorten it
}

// maxPayload is the server's limit of one message. Above it a sample travels
// in parts.
const maxPayload = 8 << 20

// singleBytes is the largest encoded message that is published in one piece;
// the rest of maxPayload is room for headers.
const singleBytes = maxPayload - 64<<10

func (o Options) withDefaults() (Options, error) {
	setDefault(&o.Durability, Flush)
	setDefault(&o.SyncInterval, 100*time.Millisecond)
	setDefault(&o.Keep, 24*time.Hour)
	setDefault(&o.Linger, 500*time.Millisecond)
	setDefault(&o.MaxWait, 2*time.Second)
	setDefault(&o.MessageBytes, 256<<10)
	setDefault(&o.ImmediateRate, 2000)
	setDefault(&o.WaitingBytes, 64<<20)
	setDefault(&o.DropsKeep, 30*24*time.Hour)
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	o.Linger = max(o.Linger, 0)
	return o, o.check()
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (o Options) check() error {
	switch {
	case o.Dir == "":
		return schema.Errorf(schema.Invalid, "the log needs a data directory")
	case o.Durability != Flush && o.Durability != Async && o.Durability != Always:
		return schema.Errorf(schema.Invalid, "log.durability %q: use flush, async or always", o.Durability)
	case o.MessageBytes < 0 || o.MessageBytes > singleBytes:
		return schema.Errorf(schema.Invalid, "log.message_bytes %d: use 1 to %d", o.MessageBytes, singleBytes)
	case o.SyncInterval < 0 || o.Keep < 0 || o.MaxWait < 0 || o.DropsKeep < 0:
		return schema.Errorf(schema.Invalid, "log: sync_interval, keep, max_wait and drops.keep cannot be negative")
	case o.DropsMaxBytes > 0 && o.DropsMaxBytes < minDropBytes:
		return schema.Errorf(schema.Invalid, "drops.max_bytes %d: use 0 for a share of the file system, or at least %d", o.DropsMaxBytes, minDropBytes)
	case o.MaxBytes < 0 || o.LimitBytes < 0 || o.DropsMaxBytes < 0 || o.WaitingBytes < 0 || o.ImmediateRate < 0:
		return schema.Errorf(schema.Invalid, "log: bytes and rates cannot be negative")
	}
	return nil
}
