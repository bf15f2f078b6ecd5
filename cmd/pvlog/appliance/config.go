package appliance

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/goccy/go-yaml"

	"pvlog/consumers/partition"
	"pvlog/ingest/caclient"
	"pvlog/schema"
)

// Config is everything that can be set, with the names of the YAML file.
type Config struct {
	Data       string        `yaml:"data"`
	HTTP       string        `yaml:"http"`
	NATS       string        `yaml:"nats"`
	Identity   string        `yaml:"identity"`
	Hosts      []string      `yaml:"hosts"`
	OpenWrites bool          `yaml:"open_writes"`
	Policies   string        `yaml:"policies"`
	Log        LogConfig     `yaml:"log"`
	Drops      DropsConfig   `yaml:"drops"`
	CA         CAConfig      `yaml:"ca"`
	Drift      DriftConfig   `yaml:"drift"`
	Rate       RateConfig    `yaml:"rate"`
	Archive    ArchiveConfig `yaml:"archive"`
	Stores     []StoreConfig `yaml:"stores"`
}

// LogConfig configures the sample log.
type LogConfig struct {
	Durability    string        `yaml:"durability"`
	SyncInterval  time.Duration `yaml:"sync_interval"`
	Keep          time.Duration `yaml:"keep"`
	MaxBytes      int64         `yaml:"max_bytes"`
	LimitBytes    int64         `yaml:"limit_bytes"`
	ImmediateRate float64       `yaml:"immediate_rate"`
	Linger        time.Duration `yaml:"linger"`
	MaxWait       time.Duration `yaml:"max_wait"`
	MessageBytes  int           `yaml:"message_bytes"`
	WaitingBytes  int64         `yaml:"waiting_bytes"`
}

// promise says what a crash and a power cut may cost (D8).
func (l LogConfig) promise() string {
	switch l.Durability {
	case "async":
		return fmt.Sprintf("async: a crash of the process may lose the last milliseconds of the log, a power cut at most %v", l.SyncInterval)
	case "always":
		return "always: neither a crash nor a power cut loses anything of the log"
	}
	return fmt.Sprintf("flush: a crash of the process loses nothing of the log, a power cut at most its last %v", l.SyncInterval)
}

// DropsConfig configures the drop log.
type DropsConfig struct {
	Keep     time.Duration `yaml:"keep"`
	MaxBytes int64         `yaml:"max_bytes"`
}

// CAConfig configures the Channel Access client; what is empty is taken from
// the EPICS_CA_* environment.
type CAConfig struct {
	AddrList        []string      `yaml:"addr_list"`
	AutoAddrList    *bool         `yaml:"auto_addr_list"`
	NameServers     []string      `yaml:"name_servers"`
	AllowServers    []string      `yaml:"allow_servers"`
	ServerPort      int           `yaml:"server_port"`
	RepeaterPort    int           `yaml:"repeater_port"`
	Repeater        *bool         `yaml:"repeater"`
	ConnTimeout     time.Duration `yaml:"conn_tmo"`
	MaxSearchPeriod time.Duration `yaml:"max_search_period"`
	SearchRate      float64       `yaml:"search_rate"`
	MaxArrayBytes   int           `yaml:"max_array_bytes"`
	MulticastTTL    int           `yaml:"mcast_ttl"`
	Silence         time.Duration `yaml:"silence"`
	Priority        uint8         `yaml:"priority"`
	FlowControl     bool          `yaml:"flow_control"`
	Properties      bool          `yaml:"properties"`
	Mask            []string      `yaml:"mask"`
}

// apply sets what is configured over what the environment says.
func (c *CAConfig) apply(o *caclient.Options) {
	setList(&o.AddrList, c.AddrList)
	setList(&o.NameServers, c.NameServers)
	setList(&o.AllowServers, c.AllowServers)
	set(&o.AutoAddrList, c.AutoAddrList)
	set(&o.Repeater, c.Repeater)
	set(&o.ServerPort, c.ServerPort)
	set(&o.RepeaterPort, c.RepeaterPort)
	set(&o.ConnTimeout, c.ConnTimeout)
	set(&o.MaxSearchPeriod, c.MaxSearchPeriod)
	set(&o.SearchRate, c.SearchRate)
	set(&o.MaxArrayBytes, c.MaxArrayBytes)
	set(&o.MulticastTTL, c.MulticastTTL)
	set(&o.Silence, c.Silence)
	set(&o.Priority, c.Priority)
	set(&o.FlowControl, c.FlowControl)
}

func setList(to *[]string, list []string) {
	if len(list) > 0 {
		*to = list
	}
}

func set[T comparable](to *T, value T) {
	var zero T
	if value != zero {
		*to = value
	}
}

func (c *CAConfig) check() error {
	var allowed error
	if err := caclient.CheckServers(c.AllowServers); err != nil {
		allowed = schema.Errorf(schema.Invalid, "ca.allow_servers: %v", err)
	}
	return errors.Join(allowed,
		within("ca.server_port", c.ServerPort, 0, 65535), within("ca.repeater_port", c.RepeaterPort, 0, 65535),
		within("ca.conn_tmo", c.ConnTimeout, 0, ages), within("ca.max_search_period", c.MaxSearchPeriod, 0, ages),
		within("ca.search_rate", c.SearchRate, 0, 10_000), within("ca.max_array_bytes", c.MaxArrayBytes, 0, 64<<20),
		within("ca.mcast_ttl", c.MulticastTTL, 0, 255), within("ca.silence", c.Silence, -ages, ages),
		within("ca.priority", c.Priority, 0, 99))
}

// DriftConfig configures how far an IOC's clock may be off.
type DriftConfig struct {
	Past   time.Duration `yaml:"past"`
	Future time.Duration `yaml:"future"`
}

// RateConfig configures how much a PV may send.
type RateConfig struct {
	Events uint32 `yaml:"events"`
	Bytes  uint64 `yaml:"bytes"`
}

// ArchiveConfig configures what requests to archive a PV do not say.
type ArchiveConfig struct {
	TimeLimit time.Duration `yaml:"time_limit"`
}

// StoreConfig is one tier of partitions.
type StoreConfig struct {
	Name        string `yaml:"name"`
	Root        string `yaml:"root"`
	Granularity string `yaml:"granularity"`
}

// DefaultConfig is what runs when nothing is set.
func DefaultConfig() Config {
	return Config{
		Data: "./pvlog-data", HTTP: "127.0.0.1:17665", NATS: "127.0.0.1:4222", Identity: "appliance0", Hosts: []string{},
		Log: LogConfig{
			Durability: "flush", SyncInterval: 100 * time.Millisecond, Keep: 24 * time.Hour,
			ImmediateRate: 2000, Linger: 500 * time.Millisecond, MaxWait: 2 * time.Second,
			MessageBytes: 256 << 10, WaitingBytes: 64 << 20,
		},
		Drops:  DropsConfig{Keep: 30 * 24 * time.Hour},
		CA:     CAConfig{AddrList: []string{}, NameServers: []string{}, AllowServers: []string{}, Properties: true, Mask: []string{"LOG", "ALARM"}},
		Drift:  DriftConfig{Past: 30 * time.Minute, Future: 30 * time.Minute},
		Stores: []StoreConfig{{Name: "STS", Granularity: string(partition.PartitionHour)}},
	}
}

// Read sets what a YAML text sets; an unknown name is an error that shows its
// place.
func (c *Config) Read(text []byte) error {
	// An empty document, of comments perhaps, would set everything to nothing.
	var any any
	if err := yaml.Unmarshal(text, &any); err == nil && any == nil {
		return nil
	}
	if err := yaml.UnmarshalWithOptions(text, c, yaml.Strict()); err != nil {
		return schema.Errorf(schema.Invalid, "%s", yaml.FormatError(err, false, true))
	}
	return nil
}

// mask is the event mask of CA subscriptions.
func (c *Config) mask() (uint16, error) {
	bits := map[string]uint16{"VALUE": 1, "LOG": 2, "ALARM": 4}
	var mask uint16
	for _, name := range c.CA.Mask {
		bit, ok := bits[name]
		if !ok {
			return 0, schema.Errorf(schema.Invalid, "ca.mask %q: use VALUE, LOG and ALARM", name)
		}
		mask |= bit
	}
	if mask == 0 {
		return 0, schema.Errorf(schema.Invalid, "ca.mask is empty: use VALUE, LOG and ALARM")
	}
	return mask, nil
}

// root is the folder of a store: its own, or one in the data directory.
func (c *Config) root(s StoreConfig) string {
	if s.Root != "" {
		return s.Root
	}
	return filepath.Join(c.Data, "stores", s.Name)
}

// YAML writes the configuration with what each setting means.
func (c *Config) YAML() ([]byte, error) {
	comments := yaml.CommentMap{}
	for path, text := range configComments {
		comments[path] = []*yaml.Comment{yaml.HeadComment(" " + text)}
	}
	return yaml.MarshalWithOptions(c, yaml.WithComment(comments), yaml.IndentSequence(true))
}

var configComments = map[string]string{
	"$.data":                 "Data directory: log, registry, stores, token.",
	"$.http":                 "HTTP: retrieval, management, metrics. Port 0 picks a free one (see addresses.json).",
	"$.nats":                 "NATS clients may look and subscribe here; off for none.",
	"$.identity":             "Name of this appliance in answers.",
	"$.hosts":                "Further names by which clients may call this host, without port; requests under unknown names change nothing.",
	"$.open_writes":          "Allow changing requests on a public address without the token in DATA/token or PVLOG_TOKEN.",
	"$.policies":             "File that says how PVs are archived: YAML rules (see pvlog policy print) or the Appliance's policies.py; changes are noticed. Empty: built-in rules.",
	"$.log":                  "The sample log.",
	"$.log.durability":       "flush: kill -9 loses nothing, a power cut at most sync_interval. async: a crash may lose the last milliseconds. always: fsync before each acknowledgement, about thirty times slower.",
	"$.log.sync_interval":    "How often the log is fsynced.",
	"$.log.keep":             "How long archived samples stay in the log for replay.",
	"$.log.max_bytes":        "Bytes of archived samples to keep; 0: a fifth of the file system.",
	"$.log.limit_bytes":      "Where the log is full and refuses samples; 0: half of what is free at start, at least 1.5 x max_bytes.",
	"$.log.immediate_rate":   "Messages per second up to which each sample travels alone and at once.",
	"$.log.linger":           "Longest pause between publishing rounds under load; negative turns it off.",
	"$.log.max_wait":         "A sample that waits longer for the log is an alarm.",
	"$.log.message_bytes":    "Most bytes of one message, unless it is one sample.",
	"$.log.waiting_bytes":    "Bytes that may wait for the log before circuits are read more slowly.",
	"$.drops":                "The drop log: samples that no partition can hold.",
	"$.drops.keep":           "How long drops are kept, if there is room. What leaves is counted, and told in advance: pvlog drops --summary.",
	"$.drops.max_bytes":      "Bytes of drops to keep, at least 1 MiB; then the oldest leave, first those of PVs that take more than a 16th of the room. 0: a share of the file system.",
	"$.ca":                   "Channel Access. What is empty is taken from EPICS_CA_* variables.",
	"$.ca.addr_list":         "Search destinations, host or host:port (EPICS_CA_ADDR_LIST).",
	"$.ca.auto_addr_list":    "Also search on all interfaces' broadcast addresses (EPICS_CA_AUTO_ADDR_LIST).",
	"$.ca.name_servers":      "TCP name servers, host or host:port (EPICS_CA_NAME_SERVERS).",
	"$.ca.allow_servers":     "Addresses (10.1.2.3) and networks (10.1.0.0/16) of servers to connect to; none: all.",
	"$.ca.server_port":       "Default port of the lists (EPICS_CA_SERVER_PORT); 0: from the environment, else 5064.",
	"$.ca.repeater_port":     "Port of beacons (EPICS_CA_REPEATER_PORT); 0: from the environment, else 5065.",
	"$.ca.repeater":          "Repeat beacons for all CA clients of this host while no other repeater runs; default true.",
	"$.ca.conn_tmo":          "Silence of a circuit before it is probed (EPICS_CA_CONN_TMO); 0: from the environment, else 30s.",
	"$.ca.max_search_period": "Longest time between two searches of a name (EPICS_CA_MAX_SEARCH_PERIOD); 0: from the environment, else 5m, reached only by many thousand dead names.",
	"$.ca.search_rate":       "Search datagrams per second to each destination; 0: 50.",
	"$.ca.max_array_bytes":   "Largest value taken from a server (EPICS_CA_MAX_ARRAY_BYTES); 0: from the environment, else up to 64 MiB.",
	"$.ca.mcast_ttl":         "Networks that multicast searches pass (EPICS_CA_MCAST_TTL); 0: from the environment, else 1.",
	"$.ca.silence":           "A monitor silent for 20 times its mean interval, and at least this, is verified by one read; 0: 60s, negative: never.",
	"$.ca.priority":          "Of circuits, 0 to 99: servers may serve higher ones first.",
	"$.ca.flow_control":      "Ask servers that send faster than is read to pause. What they merge meanwhile is lost (the next sample says for how long: flowpausedsecs); false: only read more slowly.",
	"$.ca.properties":        "Subscribe to changes of units, limits and labels (DBE_PROPERTY); false: read them once.",
	"$.ca.mask":              "Events to subscribe to: LOG and ALARM honour the archive deadband ADEL, VALUE the monitor deadband MDEL.",
	"$.drift":                "How far an IOC's time may be from the time pvlog received a sample.",
	"$.drift.past":           "The first sample after a connection is exempt.",
	"$.drift.future":         "Never exempt: one sample in the future would hold back all that follow.",
	"$.rate":                 "How much one PV may send; what is beyond goes to the drop log with the reason rate.",
	"$.rate.events":          "Events per second, in the mean over 10 s; 0: any number.",
	"$.rate.bytes":           "Bytes of events per second, likewise; 0: any number.",
	"$.archive":              "What requests to archive a PV do not say.",
	"$.archive.time_limit":   "A requested PV that does not connect for so long is given up; 0: never (archivePV's timelimit, in seconds, for one request).",
	"$.stores":               "Where PB files are, from fine to coarse: samples are appended to the first, the others are read, deleted, renamed and merged into with it. An empty root is DATA/stores/NAME. Granularities: PARTITION_5MIN, 15MIN, 30MIN, HOUR, DAY, MONTH, YEAR.",
}
