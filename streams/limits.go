package streams

import (
	"fmt"

	"pvlog/schema"
)

// limits are the byte limits of the log on its file system (design D13).
type limits struct {
	keep       int64 // bytes of archived samples that the trimmer leaves
	limit      int64 // of SAMPLES, reserved by the server at the start
	drops      int64 // of drops that are kept
	dropsLimit int64 // where DROPS is full until some have left, reserved as well
	store      int64 // of the server: all streams and a reserve for REGISTRY
}

const (
	minStore     = 4 << 20  // below this the log cannot do its work
	maxDropBytes = 10 << 30 // default bound of DROPS on large file systems
	minDropBytes = 1 << 20  // below this DROPS cannot do its work
)

// planLimits fills in what the options leave open. size is that of the file
// system; free counts what the log itself occupies already, so that a restart
// plans as the first start did; has is what the streams on the disk hold. When
// others have filled the file system since, limits come down as far as the
// contents allow: no sample is refused and no drop is let go because the space is
// theirs now, and a log that exists opens whatever is free.
func planLimits(o Options, size, free int64, has standing) (limits, error) {
	l := limits{keep: o.MaxBytes, limit: o.LimitBytes, drops: o.DropsMaxBytes}
	if l.limit == 0 {
		l.limit = max(free/2, l.keep+l.keep/2)
	}
	if l.keep == 0 {
		l.keep = min(size/5, max(l.limit, minStore)/3*2)
	}
	if l.drops == 0 {
		l.drops = max(minDropBytes, min(free/20, maxDropBytes), has[DropsStream].needs(0)/5*4)
	}
	if o.LimitBytes == 0 {
		l.limit = max(l.limit, has[SamplesStream].needs(minStore))
	}
	l.dropsLimit = l.drops + l.drops/4
	reserve := max(free/10, minStore, has[RegistryStream].bytes+minStore)
	l.store = has.reserved(map[string]int64{SamplesStream: l.limit, DropsStream: l.dropsLimit}) + reserve
	switch {
	case l.limit < minStore:
		return l, schema.Errorf(schema.Unavailable, "the log's file system has %s free; the log needs %s at least", bytesText(free), bytesText(2*minStore))
	case l.limit < l.keep+l.keep/2:
		return l, schema.Errorf(schema.Invalid, "log.limit_bytes %d must be at least 1.5 times log.max_bytes %d", l.limit, l.keep)
	}
	return l, nil
}

func bytesText(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
