package caclient

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"pvlog/ingest/ca"
)

// minSearchPeriod is the least that EPICS_CA_MAX_SEARCH_PERIOD may ask for.
const minSearchPeriod = 60 * time.Second

// OptionsFromEnv reads the EPICS_CA_ variables as EPICS clients do. What makes
// no sense is told in warnings and replaced by the default.
func OptionsFromEnv(getenv func(string) string) (o Options, warnings []string) {
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	o.AddrList = strings.Fields(getenv("EPICS_CA_ADDR_LIST"))
	o.NameServers = strings.Fields(getenv("EPICS_CA_NAME_SERVERS"))
	// libca wants "no" or "NO" somewhere in the value; any case means the same here.
	auto := !strings.Contains(strings.ToLower(getenv("EPICS_CA_AUTO_ADDR_LIST")), "no")
	o.AutoAddrList = &auto
	o.ServerPort = envPort(getenv, "EPICS_CA_SERVER_PORT", ca.ServerPort, warn)
	o.RepeaterPort = envPort(getenv, "EPICS_CA_REPEATER_PORT", ca.RepeaterPort, warn)
	o.ConnTimeout = envSeconds(getenv, "EPICS_CA_CONN_TMO", 30*time.Second, 100*time.Millisecond, warn)
	o.MaxSearchPeriod = envSeconds(getenv, "EPICS_CA_MAX_SEARCH_PERIOD", 300*time.Second, minSearchPeriod, warn)
	o.MaxArrayBytes = envArrayBytes(getenv, warn)
	o.MulticastTTL = envNumber(getenv, "EPICS_CA_MCAST_TTL", 1, 1, 255, warn)
	return o, warnings
}

// minArrayBytes is the least that EPICS_CA_MAX_ARRAY_BYTES may ask for.
const minArrayBytes = 16384

// envArrayBytes gives 0, no limit of its own, unless EPICS_CA_AUTO_ARRAY_BYTES
// is set to something that is not yes.
func envArrayBytes(getenv func(string) string, warn warnFunc) int {
	const name = "EPICS_CA_MAX_ARRAY_BYTES"
	if auto := strings.TrimSpace(getenv("EPICS_CA_AUTO_ARRAY_BYTES")); auto == "" || strings.EqualFold(auto, "yes") {
		return 0
	}
	return envNumber(getenv, name, minArrayBytes, minArrayBytes, ca.MaxValue, warn)
}

func envNumber(getenv func(string) string, name string, otherwise, least, most int, warn warnFunc) int {
	value := strings.TrimSpace(getenv(name))
	if value == "" {
		return otherwise
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > most {
		warn("%s=%q: a number from %d to %d is expected, %d is used", name, value, least, most, otherwise)
		return otherwise
	}
	return n
}

type warnFunc func(format string, args ...any)

func envPort(getenv func(string) string, name string, otherwise int, warn warnFunc) int {
	value := strings.TrimSpace(getenv(name))
	if value == "" {
		return otherwise
	}
	port, err := strconv.Atoi(value)
	if err != nil || port <= 5000 || port > 65535 {
		warn("%s=%q: a port from 5001 to 65535 is expected, %d is used", name, value, otherwise)
		return otherwise
	}
	return port
}

func envSeconds(getenv func(string) string, name string, otherwise, least time.Duration, warn warnFunc) time.Duration {
	value := strings.TrimSpace(getenv(name))
	if value == "" {
		return otherwise
	}
	seconds, err := strconv.ParseFloat(value, 64)
	if err != nil || !(seconds > 0 && seconds < 1e6) {
		warn("%s=%q: a number of seconds is expected, %v is used", name, value, otherwise)
		return otherwise
	}
	if d := time.Duration(seconds * float64(time.Second)); d >= least {
		return d
	}
	warn("%s=%q is below the least of %v, which is used", name, value, least)
	return least
}
