package streams

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pvlog/schema/logpb"
)

// visitor connects to the log's listener without a credential.
func visitor(t *testing.T, l *Log) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect("nats://"+l.Addr(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

// visitedLog has three samples, of which the archive has fetched all and
// acknowledged none, one event and one drop.
func visitedLog(t *testing.T) *Log {
	t.Helper()
	l := openLog(t, Options{Listen: "127.0.0.1:0"})
	stop := runLog(t, l)
	for n := range 3 {
		if err := l.Samples().Append(t.Context(), pvName(n), sampleOf(0)); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	fetchSamples(t, l.Archive(), 3, false)
	if _, err := l.Events().Append(t.Context(), Proposal{Event: &logpb.RegistryEvent{Version: 1, Pv: "TEST:PV0000:VAL"}}); err != nil {
		t.Fatal(err)
	}
	s := sampleOf(7)
	if err := l.Drops().Append(t.Context(), []Drop{{Reason: "order", PV: pvName(1), Position: Position{Seq: 2, Time: time.Now()}, Sample: &s}}); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestVisitorsMayLook(t *testing.T) {
	l := visitedLog(t)
	nc, js := visitor(t, l)
	ctx := within(t, 20*time.Second)
	names := map[string]bool{}
	for info := range js.ListStreams(ctx).Info() {
		names[info.Config.Name] = true
	}
	if !names[SamplesStream] || !names[RegistryStream] || !names[DropsStream] {
		t.Errorf("streams listed: %v", names)
	}
	if _, err := js.AccountInfo(ctx); err != nil {
		t.Errorf("account info: %v", err)
	}
	stream, err := js.Stream(ctx, SamplesStream)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := stream.GetMsg(ctx, 2); err != nil || m.Subject != Subject(SamplesPrefix, pvName(1)) {
		t.Errorf("get message 2: %v, %v", m, err)
	}
	if m, err := stream.GetLastMsgForSubject(ctx, "samples.>"); err != nil || m.Sequence != 3 {
		t.Errorf("get last message: %v, %v", m, err)
	}
	consumer, err := js.Consumer(ctx, SamplesStream, ArchiveName)
	if err != nil || consumer.CachedInfo().NumAckPending != 3 {
		t.Errorf("consumer info: %v", err)
	}
	if ok, err := nc.Request("$JS.API.STREAM.MSG.GET.DROPS", []byte(`{"seq":1}`), time.Second); err != nil || !strings.Contains(string(ok.Data), "drops.order.TEST.PV0001.VAL") {
		t.Errorf("get drop: %v", err)
	}
}

func TestVisitorsMayFollow(t *testing.T) {
	l := openLog(t, Options{Listen: "127.0.0.1:0"})
	runLog(t, l)
	nc, js := visitor(t, l)
	ctx := within(t, 20*time.Second)
	live, err := nc.SubscribeSync("samples.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for n := range 20 {
		if err := l.Samples().Append(ctx, pvName(n), sampleOf(0)); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		if _, err := live.NextMsgWithContext(ctx); err != nil {
			t.Fatal(err)
		}
	}
	consumers := map[string]func() (jetstream.Consumer, error){
		"ordered": func() (jetstream.Consumer, error) {
			return js.OrderedConsumer(ctx, SamplesStream, jetstream.OrderedConsumerConfig{})
		},
		"ephemeral": func() (jetstream.Consumer, error) {
			return js.CreateConsumer(ctx, SamplesStream, jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "samples.TEST.>"})
		},
	}
	for name, create := range consumers {
		c, err := create()
		if err != nil {
			t.Fatalf("%s consumer: %v", name, err)
		}
		batch, err := c.Fetch(20, jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			t.Fatalf("%s consumer: %v", name, err)
		}
		n := 0
		for m := range batch.Messages() {
			n++
			if name == "ephemeral" {
				if err := m.DoubleAck(ctx); err != nil {
					t.Errorf("acknowledge to one's own consumer: %v", err)
				}
			}
		}
		if n != 20 {
			t.Errorf("%s consumer gave %d of 20 messages: %v", name, n, batch.Error())
		}
	}
}

// TestVisitorsChangeNothing tries every way to change the log, and then looks
// whether it is as it was.
func TestVisitorsChangeNothing(t *testing.T) {
	l := visitedLog(t)
	ctx := within(t, 60*time.Second)
	before, err := l.State(ctx)
	if err != nil {
		t.Fatal(err)
	}
	nc, js := visitor(t, l)
	s, err := l.current()
	if err != nil {
		t.Fatal(err)
	}
	config := func(changes string) string {
		return `{"stream_name":"SAMPLES","config":{"ack_policy":"none","deliver_policy":"all"` + changes + `}}`
	}
	ack := "$JS.ACK.SAMPLES.archive.1.3.3.1700000000000000000.0"
	tries := []struct{ name, subject, body string }{
		{"publish a sample", "samples.TEST.PV0000.VAL", "x"},
		{"publish an event", "registry.TEST.PV0000.VAL", "x"},
		{"publish a drop", "drops.order.TEST.PV0000.VAL", "x"},
		{"delete a message", "$JS.API.STREAM.MSG.DELETE.SAMPLES", `{"seq":1}`},
		{"purge", "$JS.API.STREAM.PURGE.SAMPLES", ""},
		{"delete a stream", "$JS.API.STREAM.DELETE.SAMPLES", ""},
		{"update a stream", "$JS.API.STREAM.UPDATE.SAMPLES", `{"name":"SAMPLES","subjects":["samples.>"],"max_msgs":1}`},
		{"create a stream", "$JS.API.STREAM.CREATE.EVIL", `{"name":"EVIL","subjects":["evil"]}`},
		{"restore a stream", "$JS.API.STREAM.RESTORE.EVIL", `{}`},
		{"fetch as the archive", "$JS.API.CONSUMER.MSG.NEXT.SAMPLES.archive", "1"},
		{"acknowledge as the archive", ack, "+ACK"},
		{"acknowledge as the archive, new form", "$JS.ACK._.hash.SAMPLES.archive.1.3.3.1700000000000000000.0.x", "+ACK"},
		{"reset the archive", "$JS.API.CONSUMER.RESET.SAMPLES.archive", `{"seq":3}`},
		{"pause the archive", "$JS.API.CONSUMER.PAUSE.SAMPLES.archive", `{"pause_until":"2099-01-01T00:00:00Z"}`},
		{"delete the archive", "$JS.API.CONSUMER.DELETE.SAMPLES.archive", ""},
		{"overwrite the archive", "$JS.API.CONSUMER.CREATE.SAMPLES.archive", config(`,"durable_name":"archive","name":"archive"`)},
		{"overwrite the archive with a filter", "$JS.API.CONSUMER.CREATE.SAMPLES.archive.samples.>", config(`,"durable_name":"archive","name":"archive","filter_subject":"samples.>"`)},
		{"overwrite the archive by its durable name", "$JS.API.CONSUMER.CREATE.SAMPLES", config(`,"durable_name":"archive"`)},
		{"overwrite the archive the old way", "$JS.API.CONSUMER.DURABLE.CREATE.SAMPLES.archive", config(`,"durable_name":"archive"`)},
		{"make a durable", "$JS.API.CONSUMER.CREATE.SAMPLES.mine", config(`,"durable_name":"mine","name":"mine"`)},
		{"push into the registry", "$JS.API.CONSUMER.CREATE.SAMPLES.push", config(`,"name":"push","deliver_subject":"registry.EVIL"`)},
		{"knock at the gate's own subject", createPrefix + "SAMPLES.push", config(`,"name":"push","deliver_subject":"registry.EVIL"`)},
		{"step the leader down", "$JS.API.STREAM.LEADER.STEPDOWN.SAMPLES", ""},
		{"ask the system", "$SYS.REQ.SERVER.PING", ""},
	}
	for _, try := range tries {
		t.Run(try.name, func(t *testing.T) {
			m, err := nc.Request(try.subject, []byte(try.body), 100*time.Millisecond)
			if err == nil && !isAPIError(m.Data) {
				t.Errorf("%s was answered: %s", try.subject, m.Data)
			}
		})
	}
	// An answer of the server must not end up in a stream either.
	for _, request := range []struct{ subject, body string }{
		{"$JS.API.INFO", ""}, {"$JS.API.STREAM.INFO.SAMPLES", ""}, {"$JS.API.STREAM.MSG.GET.REGISTRY", `{"seq":1}`},
		{"$JS.API.DIRECT.GET.REGISTRY", `{"seq":1}`}, {"$JS.API.DIRECT.GET.SAMPLES", `{"seq":1,"batch":3}`},
		{"$JS.API.CONSUMER.CREATE.SAMPLES", config("")},
	} {
		for _, reply := range []string{"registry.TEST.PV0000.VAL", "samples.EVIL", "drops.order.EVIL"} {
			if err := nc.PublishRequest(request.subject, reply, []byte(request.body)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	// One more answered request: all before it have been handled.
	if _, err := js.AccountInfo(ctx); err != nil {
		t.Fatal(err)
	}
	after, err := l.State(ctx)
	if err != nil {
		t.Fatal(err)
	}
	before.Waiting, after.Waiting = Waiting{}, Waiting{}
	if before != after {
		t.Errorf("the log was\n%+v and is\n%+v", before, after)
	}
	info, err := s.js.Consumer(ctx, SamplesStream, ArchiveName)
	if err != nil {
		t.Fatal(err)
	}
	if c := info.CachedInfo(); c.NumAckPending != 3 || c.AckFloor.Stream != 0 || c.Paused || c.Config.AckPolicy != jetstream.AckAllPolicy {
		t.Errorf("the archive's consumer is %+v", c)
	}
	// The archive still owns what it fetched.
	if err := l.Archive().Ack(ctx, 3); err != nil || l.Archive().Floor() != 3 {
		t.Errorf("acknowledge after the visit: floor %d, %v", l.Archive().Floor(), err)
	}
}

func isAPIError(b []byte) bool {
	var a struct {
		Error *jetstream.APIError `json:"error"`
	}
	return json.Unmarshal(b, &a) == nil && a.Error != nil
}

func TestGateRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		target, config string
		ok             bool
	}{
		"ephemeral":           {"SAMPLES", `{}`, true},
		"named":               {"SAMPLES.x", `{"name":"x","inactive_threshold":300000000000}`, true},
		"filtered":            {"SAMPLES.x.samples.A.>", `{"name":"x","filter_subject":"samples.A.>"}`, true},
		"archive":             {"SAMPLES.archive", `{}`, false},
		"archive by name":     {"SAMPLES", `{"name":"archive"}`, false},
		"durable for ever":    {"SAMPLES.x", `{"durable_name":"x"}`, false},
		"durable for an hour": {"SAMPLES.x", `{"durable_name":"x","inactive_threshold":3600000000000}`, true},
		"push":                {"SAMPLES.x", `{"deliver_subject":"_INBOX.x"}`, true},
		"push to a stream":    {"SAMPLES.x", `{"deliver_subject":"drops.order.x"}`, false},
		"source":              {"SAMPLES.x", `{"sourcing":true}`, false},
		"immortal":            {"SAMPLES.x", `{"inactive_threshold":7200000000000}`, false},
		"nonsense":            {"SAMPLES.x", `[`, false},
	} {
		if got := refuse(c.target, []byte(`{"stream_name":"SAMPLES","config":`+c.config+`}`)) == ""; got != c.ok {
			t.Errorf("%s: allowed %v", name, got)
		}
	}
}

func TestOurPasswordIsNeeded(t *testing.T) {
	l := openLog(t, Options{Listen: "127.0.0.1:0"})
	for _, user := range []string{ourUser, visitorUser} {
		nc, err := nats.Connect("nats://"+l.Addr(), nats.UserInfo(user, "guess"))
		if err == nil {
			nc.Close()
			t.Errorf("user %s was let in with a wrong password", user)
		} else if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("user %s: %v", user, err)
		}
	}
}

// TestVisitorsMayBePushedTo is what nats sub --all does: an ordered push
// consumer, with flow control.
func TestVisitorsMayBePushedTo(t *testing.T) {
	l := openLog(t, Options{Listen: "127.0.0.1:0"})
	store(t, l, 0, 200)
	nc, _ := visitor(t, l)
	js, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	sub, err := js.SubscribeSync("samples.TEST.>", nats.OrderedConsumer(), nats.BindStream(SamplesStream))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 200 {
		m, err := sub.NextMsgWithContext(within(t, 10*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if meta, err := m.Metadata(); err != nil || meta.Sequence.Stream != uint64(n+1) {
			t.Fatalf("message %d: %+v, %v", n, meta, err)
		}
	}
}

func visitorConsumer() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy, InactiveThreshold: time.Minute}
}
