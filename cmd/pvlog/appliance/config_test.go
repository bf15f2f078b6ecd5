package appliance

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pvlog/schema"
)

func TestTheDefaultsAreValid(t *testing.T) {
	c := DefaultConfig()
	if err := c.Check(); err != nil {
		t.Error(err)
	}
}

// keys gives the YAML paths of all settings of a type.
func keys(prefix string, t reflect.Type) []string {
	var all []string
	for i := range t.NumField() {
		f := t.Field(i)
		path := prefix + "." + f.Tag.Get("yaml")
		all = append(all, path)
		if f.Type.Kind() == reflect.Struct {
			all = append(all, keys(path, f.Type)...)
		}
	}
	return all
}

func TestEverySettingIsExplainedAndEveryExplanationHasItsSetting(t *testing.T) {
	all := keys("$", reflect.TypeFor[Config]())
	for _, key := range all {
		if configComments[key] == "" {
			t.Errorf("%s has no comment", key)
		}
	}
	for key := range configComments {
		if !slices.Contains(all, key) {
			t.Errorf("the comment of %s explains nothing", key)
		}
	}
}

// every sets each setting to something that is not its default.
func every() Config {
	no := false
	return Config{
		Data: "/d", HTTP: "localhost:1", NATS: "off", Identity: "x # y: z", Hosts: []string{"a", "b"}, OpenWrites: true,
		Log: LogConfig{Durability: "always", SyncInterval: 20 * time.Millisecond, Keep: 36 * time.Hour, MaxBytes: 1, LimitBytes: 1 << 40,
			ImmediateRate: 0.5, Linger: -time.Second, MaxWait: 1500 * time.Millisecond, MessageBytes: 3, WaitingBytes: 4},
		Drops: DropsConfig{Keep: time.Hour, MaxBytes: 5},
		CA: CAConfig{AddrList: []string{"10.0.0.255", "ioc:5066"}, AutoAddrList: &no, ServerPort: 5066, ConnTimeout: 90 * time.Second, Mask: []string{"VALUE"},
			NameServers: []string{"ns:5067"}, AllowServers: []string{"10.0.0.0/8"}, RepeaterPort: 5068, Repeater: &no, MaxSearchPeriod: time.Hour,
			SearchRate: 0.5, MaxArrayBytes: 1 << 20, MulticastTTL: 9, Silence: -time.Second},
		Drift:  DriftConfig{Past: time.Minute, Future: 2 * time.Minute},
		Stores: []StoreConfig{{Name: "LTS", Root: "/arch: ive", Granularity: "PARTITION_YEAR"}},
	}
}

func TestWhatConfigPrintsReadsBackTheSame(t *testing.T) {
	for name, c := range map[string]Config{"defaults": DefaultConfig(), "everything": every()} {
		text, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		for key, comment := range configComments {
			if !strings.Contains(string(text), "# "+comment) {
				t.Errorf("%s: the comment of %s is missing", name, key)
			}
		}
		got := Config{}
		if err := got.Read(text); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, text)
		}
		if !reflect.DeepEqual(got, c) {
			t.Errorf("%s: read back\n%+v, wrote\n%+v\n%s", name, got, c, text)
		}
		over := DefaultConfig()
		if err := over.Read(text); err != nil || !reflect.DeepEqual(over, c) {
			t.Errorf("%s over the defaults: %v, %+v", name, err, over)
		}
	}
}

func TestAFileChangesOnlyWhatItNames(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want func(*Config)
	}{
		"nothing":       {"", func(*Config) {}},
		"white space":   {" \n\n", func(*Config) {}},
		"comments":      {"# http: 1.2.3.4:5\n", func(*Config) {}},
		"document mark": {"---\n", func(*Config) {}},
		"one of a group": {"log:\n  keep: 48h\n", func(c *Config) {
			c.Log.Keep = 48 * time.Hour
		}},
		"a group whose settings are comments": {"log:\n  # keep: 48h\nhttp: :1\n", func(c *Config) { c.HTTP = ":1" }},
		"a store": {"stores:\n  - name: LTS\n    granularity: PARTITION_DAY\n", func(c *Config) {
			c.Stores = []StoreConfig{{Name: "LTS", Granularity: "PARTITION_DAY"}}
		}},
		"a list": {"ca:\n  mask: [ALARM]\n", func(c *Config) { c.CA.Mask = []string{"ALARM"} }},
	} {
		t.Run(name, func(t *testing.T) {
			got, want := DefaultConfig(), DefaultConfig()
			test.want(&want)
			if err := got.Read([]byte(test.text)); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%v\ngot  %+v\nwant %+v", err, got, want)
			}
		})
	}
}

func TestAFileThatCannotBeReadSaysWhere(t *testing.T) {
	for text, want := range map[string]string{
		"htpp: 127.0.0.1:1\n":               "htpp",
		"log:\n  durabilty: flush\n":        "durabilty",
		"log:\n  keep: soon\n":              "soon",
		"log:\n  max_bytes: 1 GB\n":         "max_bytes",
		"http: [1\n":                        "1",
		"stores: STS\n":                     "stores",
		"open_writes: perhaps\n":            "open_writes",
		"\x00\xff":                          "",
		"log: &a\n  keep: 1h\nca: *missing": "missing",
	} {
		c := DefaultConfig()
		err := c.Read([]byte(text))
		if schema.CodeOf(err) != schema.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gave %v, want something of %q", text, err, want)
		}
	}
}

func TestWhatCannotRunIsRefusedByItsName(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no data":              {func(c *Config) { c.Data = "" }, "data"},
		"http without port":    {func(c *Config) { c.HTTP = "127.0.0.1" }, "http"},
		"http port":            {func(c *Config) { c.HTTP = "127.0.0.1:99999" }, "http"},
		"http no number":       {func(c *Config) { c.HTTP = "127.0.0.1:no-such-service" }, "http"},
		"nats without port":    {func(c *Config) { c.NATS = "127.0.0.1" }, "nats"},
		"nats empty":           {func(c *Config) { c.NATS = "" }, "nats"},
		"durability":           {func(c *Config) { c.Log.Durability = "never" }, "log.durability"},
		"sync interval":        {func(c *Config) { c.Log.SyncInterval = -1 }, "log.sync_interval"},
		"keep":                 {func(c *Config) { c.Log.Keep = -time.Hour }, "log.keep"},
		"max bytes":            {func(c *Config) { c.Log.MaxBytes = -1 }, "log.max_bytes"},
		"limit bytes":          {func(c *Config) { c.Log.LimitBytes = -1 }, "log.limit_bytes"},
		"immediate rate":       {func(c *Config) { c.Log.ImmediateRate = -1 }, "log.immediate_rate"},
		"max wait":             {func(c *Config) { c.Log.MaxWait = -1 }, "log.max_wait"},
		"message bytes":        {func(c *Config) { c.Log.MessageBytes = -1 }, "log.message_bytes"},
		"message bytes above":  {func(c *Config) { c.Log.MessageBytes = 4 << 20 }, "log.message_bytes"},
		"waiting bytes":        {func(c *Config) { c.Log.WaitingBytes = -1 }, "log.waiting_bytes"},
		"drops keep":           {func(c *Config) { c.Drops.Keep = -1 }, "drops.keep"},
		"drops max bytes":      {func(c *Config) { c.Drops.MaxBytes = -1 }, "drops.max_bytes"},
		"ca port":              {func(c *Config) { c.CA.ServerPort = 70000 }, "ca.server_port"},
		"ca servers":           {func(c *Config) { c.CA.AllowServers = []string{"everyone"} }, "ca.allow_servers"},
		"ca ttl":               {func(c *Config) { c.CA.MulticastTTL = 256 }, "ca.mcast_ttl"},
		"ca time out":          {func(c *Config) { c.CA.ConnTimeout = -1 }, "ca.conn_tmo"},
		"mask":                 {func(c *Config) { c.CA.Mask = []string{"LOG", "PROPERTY"} }, "ca.mask"},
		"no mask":              {func(c *Config) { c.CA.Mask = nil }, "ca.mask"},
		"drift past":           {func(c *Config) { c.Drift.Past = 0 }, "drift.past"},
		"drift future":         {func(c *Config) { c.Drift.Future = -time.Second }, "drift.future"},
		"drift below 1 s":      {func(c *Config) { c.Drift.Future = 500 * time.Millisecond }, "drift.future"},
		"negative time limit":  {func(c *Config) { c.Archive.TimeLimit = -time.Second }, "archive.time_limit"},
		"drift of an age":      {func(c *Config) { c.Drift.Past = 200 * 365 * 24 * time.Hour }, "drift.past"},
		"no store":             {func(c *Config) { c.Stores = nil }, "stores"},
		"one store twice":      {func(c *Config) { c.Stores = append(c.Stores, c.Stores...) }, "twice"},
		"coarse before fine":   {func(c *Config) { c.Stores = append(c.Stores, StoreConfig{"MTS", "", "PARTITION_5MIN"}) }, "fine to coarse"},
		"stores in one folder": {func(c *Config) { c.Stores = append(c.Stores, StoreConfig{"MTS", c.root(c.Stores[0]) + "/mts", "day"}) }, "share"},
		"no store name":        {func(c *Config) { c.Stores[0].Name = "" }, "stores"},
		"store name":           {func(c *Config) { c.Stores[0].Name = "../STS" }, "stores"},
		"granularity":          {func(c *Config) { c.Stores[0].Granularity = "fortnight" }, "stores: STS"},
	} {
		t.Run(name, func(t *testing.T) {
			c := DefaultConfig()
			test.change(&c)
			if err := c.Check(); schema.CodeOf(err) != schema.Invalid || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want a refusal of %s", err, test.want)
			}
		})
	}
}
