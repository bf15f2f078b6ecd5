package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// pvList is the PVs that a command is about.
type pvList struct {
	PVs []string `arg:"" name:"pv" help:"PV names; globs where PVs are archived already; - reads names from standard input."`
}

// names gives the PVs, those of standard input included.
func (l pvList) names() ([]string, error) {
	var names []string
	for _, pv := range l.PVs {
		if pv != "-" {
			names = append(names, pv)
			continue
		}
		read, err := readNames(os.Stdin)
		if err != nil {
			return nil, fmt.Errorf("read PV names from standard input: %w", err)
		}
		names = append(names, read...)
	}
	if len(names) == 0 {
		return nil, exitError{exitUsage, errors.New("there are no PV names on standard input")}
	}
	return names, nil
}

// readNames reads names separated by white space or commas. A # in front of a
// word begins a comment; within a name it is a letter like others.
func readNames(r io.Reader) ([]string, error) {
	var names []string
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		for word := range strings.FieldsSeq(lines.Text()) {
			if strings.HasPrefix(word, "#") {
				break
			}
			for name := range strings.SplitSeq(word, ",") {
				if name != "" {
					names = append(names, name)
				}
			}
		}
	}
	return names, lines.Err()
}

// pvInput is the PVs of a command on many: arguments, or a file.
type pvInput struct {
	PVs  []string `arg:"" optional:"" name:"pv" help:"PV names; globs where PVs are archived already; - reads standard input as --file does."`
	File string   `short:"f" placeholder:"FILE" help:"Read the PVs from a file: one name a line (# begins a comment), CSV with the header pv,samplingmethod,samplingperiod,policy,..., or JSON."`
}

// body is what is sent: the server reads all three formats.
func (in pvInput) body() (contentType string, body []byte, err error) {
	switch {
	case in.File != "" && len(in.PVs) > 0:
		return "", nil, exitError{exitUsage, errors.New("name the PVs, or a --file that does: not both")}
	case in.File == "" && len(in.PVs) == 0:
		return "", nil, exitError{exitUsage, errors.New("name PVs, or a --file that does")}
	case in.File == "-" || len(in.PVs) == 1 && in.PVs[0] == "-":
		return readList("standard input", os.Stdin)
	case in.File != "":
		f, err := os.Open(in.File)
		if err != nil {
			return "", nil, exitError{exitUsage, fmt.Errorf("read the PVs: %w", err)}
		}
		defer func() { _ = f.Close() }() // it was read only
		return readList(in.File, f)
	}
	names, err := pvList{in.PVs}.names()
	if err != nil {
		return "", nil, err
	}
	body, err = json.Marshal(names)
	return "application/json", body, err
}

// readList reads a list of PVs and finds out its format.
func readList(source string, r io.Reader) (contentType string, body []byte, err error) {
	if body, err = io.ReadAll(r); err != nil {
		return "", nil, fmt.Errorf("read the PVs from %s: %w", source, err)
	}
	contentType = listFormat(body)
	if contentType != "text/plain" {
		return contentType, body, nil
	}
	names, err := readNames(bytes.NewReader(body))
	if err == nil && len(names) == 0 {
		err = exitError{exitUsage, fmt.Errorf("there are no PV names in %s", source)}
	}
	return contentType, body, err
}

// listFormat tells JSON, CSV with a header that has a column pv, and names
// apart.
func listFormat(body []byte) string {
	text := strings.TrimSpace(strings.TrimPrefix(string(body), "\ufeff"))
	if strings.HasPrefix(text, "[") || strings.HasPrefix(text, "{") {
		return "application/json"
	}
	for line := range strings.Lines(text) {
		line = strings.ToLower(strings.TrimSpace(line))
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		for column := range strings.SplitSeq(line, ",") {
			if strings.Trim(column, " \"") == "pv" {
				return "text/csv"
			}
		}
		break
	}
	return "text/plain"
}
