package web

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"pvlog/schema"
)

// Live reads the present value of an archived PV from its IOC, over the
// channel that archives it: it waits up to timeout for the connection, and up
// to timeout for the answer.
type Live func(ctx context.Context, pv schema.PVName, timeout time.Duration) (schema.Sample, error)

// How long an IOC may take, if the client does not say, and at most.
const (
	liveTimeout    = 5 * time.Second
	maxLiveTimeout = time.Minute
)

// liveJSON is a present value. NaN and infinities are null.
type liveJSON struct {
	PV       schema.PVName `json:"pv"`
	Secs     int64         `json:"secs"`
	Nanos    uint32        `json:"nanos"`
	Severity int32         `json:"severity"`
	Status   int32         `json:"status"`
	Value    any           `json:"value"`
}

// getLive asks the IOC. The answer is the value, never one of an earlier time.
func (s *Server) getLive(w http.ResponseWriter, r *http.Request) error {
	values, err := parameters(r, "timeout")
	if err != nil {
		return err
	}
	timeout := liveTimeout
	if text := values.Get("timeout"); text != "" {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return refuse(schema.Invalid, "give seconds, such as timeout=2.5", "timeout=%q is no number", text)
		}
		if timeout, err = seconds("timeout", v); err != nil {
			return err
		}
	}
	if timeout <= 0 || timeout > maxLiveTimeout {
		return refuse(schema.Invalid, "give seconds, such as timeout=2.5", "timeout=%v: more than 0 and at most %v are allowed", timeout, maxLiveTimeout)
	}
	name, err := schema.ParsePVName(r.PathValue("pv"))
	if err != nil {
		return err
	}
	if s.options.Live == nil {
		return refuse(schema.Unavailable, "ask the server that archives the PV", "this server has no channels")
	}
	sample, err := s.options.Live(r.Context(), s.realName(name), timeout)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, liveJSON{
		PV: s.realName(name), Secs: sample.Time.Sec, Nanos: sample.Time.Nsec,
		Severity: sample.Severity, Status: sample.Status, Value: liveValue(sample.Value),
	})
	return nil
}

// liveValue is a value as JSON can say it.
func liveValue(v any) any {
	switch v := v.(type) {
	case float64:
		return jsonNumber(v)
	case float32:
		return jsonNumber(v)
	case []float64:
		return jsonNumbers(v)
	case []float32:
		return jsonNumbers(v)
	case []byte:
		list := make([]int8, len(v)) // signed, as in getData
		for i, b := range v {
			list[i] = int8(b)
		}
		if len(list) == 1 {
			return list[0]
		}
		return list
	}
	return v
}

func jsonNumbers[F float32 | float64](v []F) []jsonNumber {
	list := make([]jsonNumber, len(v))
	for i, f := range v {
		list[i] = jsonNumber(f)
	}
	return list
}
