package streams

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pvlog/schema"
)

// readyWithin bounds the start of the embedded server; recovering a large store
// takes seconds.
const readyWithin = 2 * time.Minute

// session is one life of the embedded server and our connection to it. A log
// that ran out of resources gets a new one.
type session struct {
	number int // counts lives, from 1
	srv    *server.Server
	nc     *nats.Conn
	js     jetstream.JetStream
	inbox  string        // below which this session's answers arrive
	done   chan struct{} // closed when the session ends
}

// startSession starts the server on the log's directory and connects to it.
func (l *Log) startSession(ctx context.Context, number int, lim limits) (*session, error) {
	opts, err := l.serverOptions(lim)
	if err != nil {
		return nil, err
	}
	password, err := applyAccounts(opts)
	if err != nil {
		return nil, err
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("prepare NATS server: %w", err)
	}
	srv.SetLoggerV2(serverLog{l.log.With("part", "nats")}, false, false, false)
	// Start blocks only on its listeners; it returns when they are set up.
	srv.Start()
	s := &session{number: number, srv: srv, inbox: inboxPrefix + "." + rand.Text(), done: make(chan struct{})}
	if err := l.connect(ctx, s, password); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (l *Log) serverOptions(lim limits) (*server.Options, error) {
	opts := &server.Options{
		ServerName: "pvlog", NoSigs: true, DontListen: l.opt.Listen == "",
		JetStream: true, StoreDir: filepath.Join(l.opt.Dir, "nats"),
		JetStreamMaxStore: lim.store, JetStreamMaxMemory: 32 << 20,
		SyncInterval: l.opt.SyncInterval, SyncAlways: l.opt.Durability == Always,
		MaxPayload: maxPayload, MaxPending: 8 * maxPayload,
	}
	opts.JetStreamLimits.MaxBatchTimeout = l.opt.batchTimeout
	if l.opt.Listen == "" {
		return opts, nil
	}
	host, port, err := splitListen(l.listenAddr())
	if err != nil {
		return nil, err
	}
	opts.Host, opts.Port = host, port
	return opts, checkListen(host, port)
}

// listenAddr is where the listener goes: after a restart of the server, where
// it was before.
func (l *Log) listenAddr() string {
	if addr := l.Addr(); addr != "" {
		return addr
	}
	return l.opt.Listen
}

func splitListen(listen string) (string, int, error) {
	host, text, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, schema.Errorf(schema.Invalid, "nats address %q: write host:port, as 127.0.0.1:4222 (port 0 picks a free one)", listen)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, schema.Errorf(schema.Invalid, "nats address %q: the port is a number from 0 to 65535", listen)
	}
	if port == 0 {
		return host, server.RANDOM_PORT, nil
	}
	return host, int(port), nil
}

// checkListen tries the address: the server itself would only log a failure.
func checkListen(host string, port int) error {
	if port == server.RANDOM_PORT {
		port = 0
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return schema.Errorf(schema.Unavailable, "listen for NATS clients: %w: choose another address with --nats, or --nats off", err)
	}
	return ln.Close()
}

func (l *Log) connect(ctx context.Context, s *session, password string) error {
	for end := time.Now().Add(readyWithin); !s.srv.ReadyForConnections(100 * time.Millisecond); {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(end) {
			return errors.New("the NATS server did not start: see its lines in the log")
		}
	}
	nc, err := nats.Connect("", nats.InProcessServer(s.srv), nats.UserInfo(ourUser, password),
		nats.Name("pvlog"), nats.CustomInboxPrefix(s.inbox), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
		nats.ReconnectHandler(func(*nats.Conn) { l.reconnects.Add(1) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			l.log.Warn("NATS connection", "err", err)
		}))
	if err != nil {
		return fmt.Errorf("connect to the NATS server: %w", err)
	}
	s.nc = nc
	s.js, err = jetstream.New(nc, jetstream.WithDefaultTimeout(10*time.Second))
	if err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	if !s.srv.JetStreamEnabled() {
		return schema.Errorf(schema.Unavailable, "JetStream did not start on %s: see the lines before", l.opt.Dir)
	}
	return gate{nc}.open()
}

// close ends the connection, then the server, and waits until its files are
// closed.
func (s *session) close() {
	close(s.done)
	if s.nc != nil {
		s.nc.Close()
	}
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}

// setUp makes the streams and the archive's consumer, or brings those that
// exist to the present configuration.
func (l *Log) setUp(ctx context.Context, s *session, lim limits) error {
	for _, config := range streamConfigs(l.opt, lim) {
		if err := setUpStream(ctx, s.js, config); err != nil {
			return err
		}
	}
	err := l.setUpConsumer(ctx, s)
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == codeConsumerStore {
		// Its state cannot be read. Without one everything comes again, and what
		// the archive has is known to it (design D2).
		l.log.Warn("the state of the archive's consumer is damaged and is made anew", "err", err)
		path := filepath.Join(l.streamDir(SamplesStream), "obs", ArchiveName, "o.dat")
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the damaged state of consumer %s: %w", ArchiveName, err)
		}
		err = l.setUpConsumer(ctx, s)
	}
	if err != nil {
		return err
	}
	if err := l.copyMeta(); err != nil {
		l.log.Warn("damaged descriptions of streams could not be put back after this run", "err", err)
	}
	return nil
}

// codeConsumerStore is the server's error of a consumer whose files it cannot read.
const codeConsumerStore jetstream.ErrorCode = 10012

func setUpStream(ctx context.Context, js jetstream.JetStream, config jetstream.StreamConfig) error {
	old, err := js.Stream(ctx, config.Name)
	if err == nil {
		// The server refuses to change the persist mode of a stream.
		config.PersistMode = old.CachedInfo().Config.PersistMode
	}
	if _, err := js.CreateOrUpdateStream(ctx, config); err != nil {
		return fmt.Errorf("set up stream %s: %w", config.Name, err)
	}
	return nil
}

func streamConfigs(o Options, lim limits) []jetstream.StreamConfig {
	samples := jetstream.StreamConfig{
		Name: SamplesStream, Subjects: []string{SamplesPrefix + ".>"},
		Description: "Raw samples, one subject per PV; trimmed by pvlog once archived",
		Discard:     jetstream.DiscardNew, MaxBytes: lim.limit, MaxAge: 0,
		AllowBatchPublish: true,
	}
	if o.Durability == Async {
		samples.PersistMode = jetstream.AsyncPersistMode
	}
	registry := jetstream.StreamConfig{
		Name: RegistryStream, Subjects: []string{RegistryPrefix + ".>"},
		Description: "What happened to PVs, for ever; the registry is its replay",
		DenyDelete:  true, DenyPurge: true, Discard: jetstream.DiscardNew,
		AllowAtomicPublish: true,
	}
	drops := jetstream.StreamConfig{
		Name: DropsStream, Subjects: []string{DropsPrefix + ".>"},
		Description: "Samples that no partition could hold, with the reason: drops.<reason>.<PV>",
		Discard:     jetstream.DiscardNew, MaxBytes: lim.dropsLimit, MaxAge: 0, // old ones leave by our hand, counted
		AllowBatchPublish: true,
	}
	configs := []jetstream.StreamConfig{samples, registry, drops}
	for i := range configs {
		configs[i].Storage = jetstream.FileStorage
		configs[i].AllowDirect = true
		configs[i].Duplicates = time.Second // message ids are not used
		configs[i].Metadata = map[string]string{"pvlog.format": strconv.Itoa(schema.MessageVersion)}
	}
	return configs
}

// setUpConsumer makes the durable consumer of design D4. What waits for its
// acknowledgement is bounded by the archive, not by the server.
func (l *Log) setUpConsumer(ctx context.Context, s *session) error {
	_, err := s.js.CreateOrUpdateConsumer(ctx, SamplesStream, jetstream.ConsumerConfig{
		Durable: ArchiveName, Description: "Writes PB partitions; acknowledges what is durable in them",
		DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckAllPolicy,
		AckWait: 365 * 24 * time.Hour, MaxAckPending: -1, MaxDeliver: -1,
	})
	if err != nil {
		return fmt.Errorf("set up consumer %s: %w", ArchiveName, err)
	}
	return nil
}

// serverAddr is where the server listens, "" if it does not.
func serverAddr(s *session, listen string) string {
	if listen == "" || s.srv.Addr() == nil {
		return ""
	}
	addr := s.srv.Addr().String()
	host, _, err := net.SplitHostPort(listen)
	if err == nil && host != "" && !strings.HasPrefix(host, "[") {
		_, port, _ := net.SplitHostPort(addr)
		return net.JoinHostPort(host, port)
	}
	return addr
}
