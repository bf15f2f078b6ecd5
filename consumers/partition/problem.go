package partition

import "slices"

// Kind names what is wrong with a file.
type Kind string

// The kinds of problems, with what [Repair] does about each.
const (
	Empty     Kind = "empty"     // 0 bytes; left: the next append writes the header
	NoHeader  Kind = "no_header" // the first line is none, or there is no line; made anew if siblings tell it
	Torn      Kind = "torn"      // bytes behind the last LF; cut
	Zeros     Kind = "zeros"     // zero bytes where a line should be; cut, a sample behind them is kept
	LostLF    Kind = "lost_lf"   // a 10 that was written as a bare LF (FORMAT.md); written as it should be
	BadLine   Kind = "line"      // not an EPICSEvent; cut
	WrongType Kind = "type"      // an EPICSEvent of another type than the header's; cut
	BadEscape Kind = "escape"    // a sample that is not escaped as a writer does; written as it should be
	Order     Kind = "order"     // earlier than a line before it; sorted in
	Duplicate Kind = "duplicate" // the same sample again; dropped
	Conflict  Kind = "conflict"  // another sample of the same instant; kept in a side file
	Future    Kind = "future"    // later than [PlanRepairUntil] was told that any sample can be; moved to the side file
	Joined    Kind = "joined"    // a second header; cut if it says the same, else the file is left

	BadValue  Kind = "value" // a sample whose value or fields do not decode; left
	BadTime   Kind = "time"  // a sample with more than 999,999,999 nanoseconds; left
	Outside   Kind = "span"  // a sample outside the partition's span; left
	WrongName Kind = "name"  // the file's name is not that of a partition; left
	WrongPath Kind = "path"  // the file is not where its PV's partitions are; left
	WrongYear Kind = "year"  // the header's year is not that of the name; left

	Leftover   Kind = "leftover"   // an interrupted tool's file, no partition; left
	Unreadable Kind = "unreadable" // the disk or its rights do not let it be read
)

// repairable are the kinds that Repair can do something about in the file.
var repairable = []Kind{Torn, Zeros, LostLF, BadLine, WrongType, BadEscape, Order, Duplicate, Conflict, Future, Joined}

// Kinds gives all of them, in the order of the list above.
func Kinds() []Kind {
	return append(append([]Kind{Empty, NoHeader}, repairable...),
		BadValue, BadTime, Outside, WrongName, WrongPath, WrongYear, Leftover, Unreadable)
}

// Repairable reports whether [Repair] takes a problem of the kind out of a file
// whose header is sound.
func (k Kind) Repairable() bool { return slices.Contains(repairable, k) }

// Problem is one thing that is wrong with a file.
type Problem struct {
	Kind   Kind   `json:"kind"`
	Line   int    `json:"line"`   // 1 is the header; 0 is the file as a whole
	Offset int64  `json:"offset"` // byte at which it begins
	Text   string `json:"text"`   // what is wrong, for people
}
