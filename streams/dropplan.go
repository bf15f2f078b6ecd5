package streams

import (
	"cmp"
	"slices"
)

// What happens when DROPS holds more than it may (design D6): the oldest leave,
// first of those that take too large a share. One PV that drops a million
// samples a minute thus pushes out its own drops, not those of all others.
const (
	shareLargest  = 16   // a PV's drops of one reason may take a 16th of the room, while others need it
	shareSmallest = 1024 // with many such PVs less, down to this part
	shareSubjects = 64   // that lose drops out of turn at once, at most
	roomParts     = 16   // this part of the room is made free at once
)

// dropUsage is what the drops of one PV and reason take.
type dropUsage struct {
	subject  string
	messages uint64
	bytes    int64 // estimated
}

// planShares chooses the subjects that take more than their share of room bytes,
// when need bytes are to be freed, and how many messages each keeps. The share
// is the largest whose excess frees enough; each subject loses the same part of
// its excess. Nil says that the drops are spread too evenly: then the oldest of
// all leave. It is pure.
func planShares(usage []dropUsage, room, need int64) map[string]uint64 {
	slices.SortFunc(usage, func(x, y dropUsage) int { return cmp.Compare(y.bytes, x.bytes) })
	for part := int64(shareLargest); part <= shareSmallest; part *= 2 {
		share, excess, n := room/part, int64(0), 0
		for n < len(usage) && usage[n].bytes > share {
			excess += usage[n].bytes - share
			n++
		}
		if n > shareSubjects {
			return nil
		}
		if excess < need {
			continue
		}
		keep := map[string]uint64{}
		for _, u := range usage[:n] {
			loses := float64(u.bytes-share) * (float64(need) / float64(excess))
			stay := max(1, uint64(float64(u.messages)*(1-loses/float64(u.bytes))))
			if stay < u.messages {
				keep[u.subject] = stay
			}
		}
		if len(keep) > 0 {
			return keep
		}
	}
	return nil
}

// sizeOf is what is known of the sizes of a subject's messages.
type sizeOf struct {
	messages uint64
	bytes    int64
}

// dropUsages estimates the bytes of each subject: from the messages that this
// process has stored, else as the mean of the rest of the total.
func dropUsages(messages map[string]uint64, sizes map[string]sizeOf, total int64) []dropUsage {
	list := make([]dropUsage, 0, len(messages))
	rest, unknown := total, uint64(0)
	for subject, n := range messages {
		u := dropUsage{subject: subject, messages: n}
		if known := sizes[subject]; known.messages > 0 {
			u.bytes = int64(float64(known.bytes) / float64(known.messages) * float64(n))
			rest -= u.bytes
		} else {
			unknown += n
		}
		list = append(list, u)
	}
	if unknown == 0 {
		return list
	}
	mean := max(0, float64(rest)/float64(unknown))
	for i := range list {
		if sizes[list[i].subject].messages == 0 {
			list[i].bytes = int64(mean * float64(list[i].messages))
		}
	}
	return list
}
