//go:build race

package integration

// raceEnabled reports whether these tests run with the race detector.
const raceEnabled = true
