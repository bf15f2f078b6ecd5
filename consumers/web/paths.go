package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// A path of the Appliance's API is exact. One of /api/v1 may hold a name in
// braces, /api/v1/pvs/{pv}/history: the name takes one segment or several, so
// that a PV called A/B is found as A%2FB (always) and as A/B (where no other
// pattern has more words in common with the path). Segments are decoded one by
// one, so an encoded '/' never separates.

// routeOf finds the route of a request and gives the request the name that its
// path holds (PathValue): the error is that of an unknown path, or of a method
// that the path does not take.
func (s *Server) routeOf(r *http.Request) (*route, error) {
	if rt, ok := s.routes[r.URL.Path]; ok {
		return rt, nil
	}
	var best *route
	var name, value string
	var methods []string
	segments, words := segmentsOf(r.URL), 0
	for _, rt := range s.patterns {
		key, val, n, ok := matchPath(rt.path, segments)
		if !ok || n < words {
			continue
		}
		if n > words {
			best, methods, words = nil, nil, n
		}
		methods = append(methods, rt.methods()...)
		if rt.allows(r.Method) == nil {
			best, name, value = rt, key, val
		}
	}
	switch {
	case methods == nil:
		return nil, s.unknownPath(r.URL.Path)
	case best == nil:
		return nil, notAllowed(r.URL.Path, r.Method, methods)
	}
	r.SetPathValue(name, value)
	return best, nil
}

// segmentsOf splits a path and decodes its segments.
func segmentsOf(u *url.URL) []string {
	segments := strings.Split(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	for i, s := range segments {
		if plain, err := url.PathUnescape(s); err == nil { // net/http refuses what cannot be decoded
			segments[i] = plain
		}
	}
	return segments
}

// matchPath gives the name that a path holds with its value, and how many words
// of the pattern stand in it. There is one name in a pattern at most.
func matchPath(pattern string, path []string) (name, value string, words int, ok bool) {
	before, rest, has := strings.Cut(strings.TrimPrefix(pattern, "/"), "{")
	if !has {
		return "", "", strings.Count(pattern, "/"), slices.Equal(strings.Split(before, "/"), path)
	}
	name, after, _ := strings.Cut(rest, "}")
	head := strings.Split(strings.TrimSuffix(before, "/"), "/")
	tail := strings.FieldsFunc(after, func(r rune) bool { return r == '/' })
	end := len(path) - len(tail)
	if end <= len(head) || !slices.Equal(head, path[:len(head)]) || !slices.Equal(tail, path[end:]) {
		return "", "", 0, false
	}
	value = strings.Join(path[len(head):end], "/")
	return name, value, len(head) + len(tail), value != ""
}
