package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strings"
)

// Exit codes that scripts can use.
const (
	exitFailed  = 1 // it could not be done
	exitUsage   = 2 // the command line is wrong
	exitPartial = 3 // done for some of the PVs, or not true of all of them
)

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	error
}

// Unwrap gives the error without its code.
func (e exitError) Unwrap() error { return e.error }

// exitCode is how the process ends after err.
func exitCode(err error) int {
	if coded, ok := errors.AsType[exitError](err); ok {
		return coded.code
	}
	return exitFailed
}

// client asks a running server.
type client struct {
	Server string `env:"PVLOG_SERVER" default:"127.0.0.1:17665" placeholder:"ADDR" help:"Address of the server."`
	Token  string `env:"PVLOG_TOKEN" placeholder:"TOKEN" help:"Credential for changes from another host."`
}

// get fetches a page.
func (c client) get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	return c.all(ctx, http.MethodGet, path, query, nil)
}

// post sends v as JSON.
func (c client) post(ctx context.Context, path string, query url.Values, v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return c.all(ctx, http.MethodPost, path, query, body)
}

func (c client) all(ctx context.Context, method, path string, query url.Values, body []byte) ([]byte, error) {
	stream, err := c.open(ctx, method, path, query, body)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(stream)
	if err = errors.Join(err, stream.Close()); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", c.Server, err)
	}
	return answer, nil
}

// open sends a request and gives the body of a good answer; the error of
// another says what the server said. path is as it stands in a URL: a PV's name
// in it is escaped.
func (c client) open(ctx context.Context, method, path string, query url.Values, body []byte) (io.ReadCloser, error) {
	return c.send(ctx, method, path, query, http.Header{"Content-Type": {"application/json"}}, body)
}

// send is open with headers; Content-Type is of a body, if there is one.
func (c client) send(ctx context.Context, method, path string, query url.Values, headers http.Header, body []byte) (io.ReadCloser, error) {
	plain, err := url.PathUnescape(path)
	if err != nil {
		return nil, fmt.Errorf("path %q: %w", path, err)
	}
	address := url.URL{Scheme: "http", Host: strings.TrimPrefix(c.Server, "http://"), Path: plain, RawPath: path, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, method, address.String(), bytes.NewReader(body))
	if err != nil {
		return nil, exitError{exitUsage, fmt.Errorf("--server %q: %w", c.Server, err)}
	}
	request.Header = headers.Clone()
	if body == nil {
		request.Header.Del("Content-Type")
	}
	if method != http.MethodGet {
		request.Header.Set("Pvlog-Actor", person())
	}
	if c.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.Token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%w (is `pvlog serve` running there? --server names another address)", err)
	}
	if response.StatusCode == http.StatusOK {
		return response.Body, nil
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return nil, errors.Join(refusal(response.Status, text), err, response.Body.Close())
}

// person is in whose name a change is asked for: user@host. The server takes it
// for a claim.
func person() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

// problem is an error of the server: problem details (RFC 9457), or what the
// Appliance's paths answer.
type problem struct {
	Detail     string `json:"detail"`
	Error      string `json:"error"`
	Validation string `json:"validation"`
	Hint       string `json:"hint"`
	Code       string `json:"code"`
	PV         string `json:"pv"` // that it is about, if it is about one
}

// text is the problem for a person, "" if there is none. Hints that name paths
// of the API are for programs.
func (p problem) text() string {
	said, hint := cmp.Or(p.Detail, p.Error, p.Validation), p.Hint
	if strings.Contains(hint, "/api/v1") || strings.Contains(hint, "/mgmt/bpl") || strings.Contains(hint, "GET /") {
		hint = ""
	}
	if p.Code == "not_found" && p.PV != "" {
		hint = "pvlog list shows what is registered"
	}
	if said == "" || hint == "" {
		return said
	}
	return said + " (" + hint + ")"
}

// refusal words what the server answered for a person.
func refusal(status string, body []byte) error {
	var said problem
	if err := json.Unmarshal(body, &said); err != nil || said.text() == "" {
		return fmt.Errorf("the server answered %s: %.500s", status, body)
	}
	return errors.New(said.text())
}

// answerLines gives the lines of a streamed answer one by one, and copies them.
// cut is why it ended early, err a line that is none of the server's.
func answerLines[T any](stream io.Reader, raw io.Writer, take func(T)) (cut, err error) {
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fmt.Fprintf(raw, "%s\n", lines.Bytes())
		var line T
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("read the server's answer: %w", err)
		}
		take(line)
	}
	return lines.Err(), nil
}
