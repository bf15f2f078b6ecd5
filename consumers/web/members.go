package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"

	"pvlog/schema"
)

// readBody reads the whole body of a request, up to Options.MaxBody.
func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, refuse(schema.Invalid, "send the PVs in several requests", "the request's body is larger than %d bytes", tooLarge.Limit).
			as(http.StatusRequestEntityTooLarge)
	}
	if err != nil {
		return nil, schema.Errorf(schema.Invalid, "read the request's body: %v", err)
	}
	return bytes.TrimSpace(body), nil
}

// readJSON reads a JSON object with these members and no others.
func readJSON(r *http.Request, v any, names ...string) error {
	body, err := readBody(r)
	if err != nil {
		return err
	}
	switch media := mediaType(r); {
	case media != "" && media != "application/json" && media != "application/merge-patch+json":
		return unreadable(media, "application/json")
	case len(body) == 0:
		return refuse(schema.Invalid, "send a JSON object with "+strings.Join(names, ", "), "the request has no body")
	}
	return members(body, v, names...)
}

func mediaType(r *http.Request) string {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if media == "application/x-www-form-urlencoded" { // what curl -d says of anything
		return ""
	}
	return media
}

func unreadable(media string, instead ...string) error {
	return refuse(schema.Invalid, "send "+strings.Join(instead, ", "), "a body of type %s is not read here", media).as(http.StatusUnsupportedMediaType)
}

// members decodes a JSON object that may have these members, and names the one
// that it may not have.
func members(body []byte, v any, names ...string) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(body, &object); err != nil {
		return wrongJSON(err)
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if !slices.Contains(names, name) {
			return refuse(schema.Invalid, "it may have "+strings.Join(names, ", "), "the member %q is not known here", name)
		}
	}
	if err := json.Unmarshal(body, v); err != nil {
		return wrongJSON(err)
	}
	return nil
}

func wrongJSON(err error) error {
	if _, ok := errors.AsType[*refusal](err); ok {
		return err
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		err = fmt.Errorf("the member %q cannot be a %s", wrong.Field, wrong.Value)
	}
	return refuse(schema.Invalid, "/api/v1/openapi.json has an example for each request", "the body is not the JSON that is expected: %v", err)
}

// optional is a member that may be absent; null stands for its zero value.
type optional[T any] struct {
	given bool
	value T
}

// UnmarshalJSON notes that the member is there.
func (o *optional[T]) UnmarshalJSON(b []byte) error {
	o.given = true
	if string(b) == "null" {
		return nil
	}
	return json.Unmarshal(b, &o.value)
}

func some[T any](v T) optional[T] { return optional[T]{true, v} }
