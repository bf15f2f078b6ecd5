package main

import (
	"os"
	"runtime/debug"
)

// gcPercent is how much garbage may gather, in percent of what is alive, before
// it is collected. At 10,000 PVs of 10 Hz the process has 436 MB and takes 5.2 us
// a sample with 100, 338 MB and 5.8 us with 50, 299 MB and 6.2 us with 30.
const gcPercent = 50

// saveMemory sets it, unless GOGC says otherwise.
func saveMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
