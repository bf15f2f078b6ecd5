package archive

import (
	"pvlog/consumers/partition"
	"pvlog/schema"
)

// fullSet is what the registry knows of a PV's fields, as records for the end
// of its next kept sample, if that one is to explain its file (D12): the first
// of a partition, of partitions shorter than a day the first of a UTC day. What
// the sample carries already, and what waits to ride on it, is left out. The
// rest of the set, the archive fields that the registry does not know, ingest
// puts on the first sample of each day itself.
//
// Which sample it is follows from its time and the PV's last one alone, both of
// which a replay finds again. The values may be newer then: no comparison looks
// at them. f is locked.
func (a *Archive) fullSet(f *pvFiles, info *schema.TypeInfo, event schema.Event, at schema.Time) []byte {
	if f.hasLast && !begins(a.opt.Store.Granularity, f.last, at) {
		return nil
	}
	var records []byte
	for _, field := range info.KnownFields() {
		if !schema.HasField(event.Fields, field.Name) && !schema.HasField(f.pending, field.Name) {
			records = schema.AppendField(records, field.Name, field.Val)
		}
	}
	if len(records) > 0 && !event.Changed {
		records = schema.AppendFieldsChanged(records, false) // a periodic dump, as the Appliance marks it
	}
	return records
}

// begins reports whether a sample begins a partition, or a UTC day if
// partitions are shorter, where the one before it stands in an earlier one.
func begins(g partition.Granularity, last, at schema.Time) bool {
	if partition.PartitionDay.Start(last) == partition.PartitionDay.Start(at) {
		return false // no partition begins within a day but those that are shorter
	}
	switch g {
	case partition.PartitionMonth, partition.PartitionYear:
		return g.Start(last) != g.Start(at)
	}
	return true
}
