package main

import (
	"encoding/binary"
	"fmt"
	"strings"

	"pvlog/ingest/ca"
)

// details is a value with all that its type tells, as caget -d prints it.
func (f caFormat) details(a caAnswer) string {
	r := a.reading()
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "    %-17s %s\n", name+":", fmt.Sprintf(format, args...))
	}
	b.WriteString(a.name + "\n")
	row("Native data type", "%s", dbfName(a.info.Native))
	row("Request type", "%v", r.data)
	if r.data == ca.DBRClassName {
		row("Class Name", "%s", strings.Join(f.elements(r.first(1)), ""))
		return b.String()
	}
	var meta ca.Metadata
	if class := r.data.Class(); class == ca.GR || class == ca.CTRL {
		var err error
		if meta, err = ca.DecodeCtrl(r.data, r.count, r.payload); err != nil {
			row("Value", "%s", caTrouble(err))
			return b.String()
		}
		if r.data.Native() == ca.DBREnum {
			meta.EnumStrings = enumLabels(r.payload)
			r.labels = meta.EnumStrings
		}
	}
	values := f.elements(r)
	row("Element count", "%d", len(values))
	if f.CharText && r.data.Native() == ca.DBRChar && f.counted(r) {
		values = []string{r.text()}
	}
	row("Value", "%s", strings.Join(values, f.Separator))
	if r.data.Class() == ca.Plain {
		return b.String()
	}
	if r.data.Class() == ca.TIME {
		row("Timestamp", "%s", f.stamp(r.time()))
	}
	status, severity := r.alarm()
	row("Status", "%s", statusName(status))
	row("Severity", "%s", severityName(severity))
	if r.data == ca.DBRStsAckString {
		acknowledgement(row, r.payload)
	}
	if r.data.Class() == ca.GR || r.data.Class() == ca.CTRL {
		properties(&b, row, r.data, meta, r.payload)
	}
	return b.String()
}

type rowFunc func(name, format string, args ...any)

func acknowledgement(row rowFunc, payload []byte) {
	transient := "NO"
	if binary.BigEndian.Uint16(payload[4:]) != 0 {
		transient = "YES"
	}
	row("Ack transient?", "%s", transient)
	row("Ack severity", "%s", severityName(int(binary.BigEndian.Uint16(payload[6:]))))
}

// limitRows are the limits in the order of caget.
var limitRows = []struct{ title, field string }{
	{"Lo disp limit", "LOPR"}, {"Hi disp limit", "HOPR"}, {"Lo alarm limit", "LOLO"}, {"Lo warn limit", "LOW"},
	{"Hi warn limit", "HIGH"}, {"Hi alarm limit", "HIHI"}, {"Lo ctrl limit", "DRVL"}, {"Hi ctrl limit", "DRVH"},
}

func properties(b *strings.Builder, row rowFunc, d ca.DBR, meta ca.Metadata, payload []byte) {
	switch d.Native() {
	case ca.DBRString:
		return
	case ca.DBREnum:
		row("Enums", "(%2d)", len(meta.EnumStrings))
		for i, label := range meta.EnumStrings {
			fmt.Fprintf(b, "%22s[%2d] %s\n", "", i, shown(label))
		}
		return
	}
	row("Units", "%s", shown(rawUnits(d, payload)))
	float := d.Native() == ca.DBRFloat || d.Native() == ca.DBRDouble
	if float {
		row("Precision", "%d", meta.Precision)
	}
	for _, l := range limitRows {
		v, ok := meta.Limits[l.field]
		switch {
		case !ok:
		case float:
			row(l.title, "%s", cFloat(v, 'g', 6))
		case d.Native() == ca.DBRChar:
			row(l.title, "%8d", int8(uint8(v)))
		default:
			row(l.title, "%8d", int64(v))
		}
	}
}

// dbfName is the name of a native type as a field's.
func dbfName(native ca.DBR) string {
	return "DBF_" + strings.TrimPrefix(native.String(), "DBR_")
}
