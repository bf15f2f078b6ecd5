package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// check is what the files of a load hold. The values of each PV count, so
// whatever is missing, or there twice, shows.
type check struct {
	Found      int64 `json:"found"`      // samples in the files
	Missing    int64 `json:"missing"`    // values left out between a PV's first and its last
	Repeated   int64 `json:"repeated"`   // values that are not larger than the one before
	Disordered int64 `json:"disordered"` // times that are not later than the one before
	Files      int64 `json:"files"`
	Bytes      int64 `json:"file_bytes"` // of all files
}

// checkFiles reads all partitions of a load's PVs in a data directory.
func checkFiles(dir string, names []string) (check, error) {
	var c check
	var lister partition.Lister
	for _, name := range names {
		files, err := lister.List(storeOf(dir), schema.ChunkKey(schema.PVName(name)), partition.PartitionHour)
		if err != nil {
			return c, err
		}
		last := valueAt{value: -1}
		for _, file := range files {
			c.Files, c.Bytes = c.Files+1, c.Bytes+file.Size
			if last, err = c.file(file.Path, last); err != nil {
				return c, fmt.Errorf("check the files of %s: %w", name, err)
			}
		}
	}
	return c, nil
}

// storeOf is where the partitions of a benchmark's data directory are.
func storeOf(dir string) string { return filepath.Join(dir, "stores", "STS") }

// valueAt is a sample of a load.
type valueAt struct {
	at    schema.Time
	value float64 // negative before the first sample
}

// file counts the samples of a file that follow last, and gives its last one.
func (c *check) file(path string, last valueAt) (valueAt, error) {
	r, err := partition.Open(path)
	if err != nil {
		return last, err
	}
	for {
		line, err := r.Next()
		if errors.Is(err, io.EOF) {
			return last, r.Close()
		}
		if err != nil {
			return last, errors.Join(err, r.Close())
		}
		sample, err := schema.DecodeSample(r.Header().Type, r.Header().Year, line.Event)
		if err != nil {
			return last, errors.Join(err, r.Close())
		}
		last = c.sample(valueAt{line.Time, countOf(sample.Value)}, last)
	}
}

// countOf is the number that a load's sample carries.
func countOf(value any) float64 {
	switch v := value.(type) {
	case float64:
		return v
	case []float64:
		if len(v) > 0 {
			return v[0]
		}
	}
	return 0
}

func (c *check) sample(now, last valueAt) valueAt {
	c.Found++
	if last.value < 0 {
		return now
	}
	if !now.at.After(last.at) {
		c.Disordered++
	}
	switch gap := now.value - last.value; {
	case gap <= 0:
		c.Repeated++
	case gap > 1:
		c.Missing += int64(gap) - 1
	}
	return now
}
