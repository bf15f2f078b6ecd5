package main

import (
	"bufio"
	"bytes"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"github.com/prometheus/client_golang/prometheus"
)

// metricValues are metrics by name, those of all labels added up; histograms
// have NAME_count and NAME_sum.
type metricValues map[string]float64

// minus is what happened since earlier.
func (m metricValues) minus(earlier metricValues) metricValues {
	d := make(metricValues, len(m))
	for name, v := range m {
		d[name] = v - earlier[name]
	}
	return d
}

// gather reads the metrics of this process.
func gather(registry *prometheus.Registry) (metricValues, error) {
	families, err := registry.Gather()
	if err != nil {
		return nil, err
	}
	values := metricValues{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			values.add(f.GetName(), m)
		}
	}
	return values, nil
}

func (m metricValues) add(name string, metric *dto.Metric) {
	if h := metric.GetHistogram(); h != nil {
		m[name+"_count"] += float64(h.GetSampleCount())
		m[name+"_sum"] += h.GetSampleSum()
		return
	}
	m[name] += metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
}

// parseMetrics reads the text that /metrics answers.
func parseMetrics(text []byte) metricValues {
	values := metricValues{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		line := lines.Text()
		space := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || space < 0 {
			continue
		}
		name, _, _ := strings.Cut(line[:space], "{")
		if v, err := strconv.ParseFloat(line[space+1:], 64); err == nil {
			values[name] += v
		}
	}
	return values
}
