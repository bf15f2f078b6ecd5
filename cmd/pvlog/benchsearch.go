package main

import (
	"fmt"
	"strings"
	"time"
)

// Bounds of the search for the highest load.
const (
	searchDoublings = 12
	searchHalvings  = 3
	rateMost        = 1000 // of a simulated record
)

// search doubles a load's rate while it is held, and halves the step between
// the last that was and the first that was not. It gives all that was measured;
// the highest rate that was held is the capacity, to an eighth.
func (f *benchLoadFlags) search(l load, measure func(load) (loadResult, error)) (tried []loadResult, err error) {
	var good, bad float64
	try := func(rate float64) error {
		l.Rate = rate
		r, err := measure(l)
		if err != nil {
			return err
		}
		tried = append(tried, r)
		if r.Held {
			good = rate
		} else {
			bad = rate
		}
		return nil
	}
	for range searchDoublings {
		if err := try(min(max(2*good, l.Rate), rateMost)); err != nil {
			return tried, err
		}
		if bad > 0 || good == rateMost {
			break
		}
	}
	for range searchHalvings {
		if bad == 0 {
			break
		}
		if err := try((good + bad) / 2); err != nil {
			return tried, err
		}
	}
	return tried, nil
}

// parseLingers reads a list of settings of log.linger, as streams.Options has
// them: 0 is the default there, and none is negative.
func parseLingers(text string) ([]time.Duration, error) {
	var all []time.Duration
	for word := range strings.SplitSeq(text, ",") {
		if word == "default" {
			all = append(all, 0)
			continue
		}
		span, err := time.ParseDuration(word)
		if err != nil || span < 0 {
			return nil, fmt.Errorf("--linger %q: default, 0 or a span such as 200ms", word)
		}
		if span == 0 {
			span = -1
		}
		all = append(all, span)
	}
	return all, nil
}

func lingerText(linger time.Duration) string {
	switch {
	case linger == 0:
		return "default"
	case linger < 0:
		return "0"
	}
	return linger.String()
}
