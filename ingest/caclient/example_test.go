package caclient_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/ingest/simioc"
	"pvlog/schema"
)

// simulated runs an IOC for the examples and gives the options that find it.
func simulated(ctx context.Context, records ...simioc.Record) (ioc *simioc.IOC, options caclient.Options, done chan error) {
	ioc = simioc.New(simioc.Options{Listen: "127.0.0.1:0", Records: records})
	done = make(chan error, 1)
	if err := ioc.Listen(); err != nil {
		panic(err)
	}
	go func() { done <- ioc.Run(ctx) }()
	no := false
	// A program that runs where EPICS clients run takes OptionsFromEnv(os.Getenv).
	return ioc, caclient.Options{AddrList: []string{ioc.Addr()}, AutoAddrList: &no, Repeater: &no}, done
}

// waiting is a Handler for who only wants to read: it tells the connection.
type waiting struct{ connected chan struct{} }

func (w waiting) Connected(*caclient.Channel, caclient.Info) {
	select {
	case w.connected <- struct{}{}:
	default: // a reconnection, of which nobody waits to hear
	}
}
func (w waiting) Disconnected(*caclient.Channel, error)         {}
func (w waiting) Update(_ *caclient.Channel, _ caclient.Update) {}

// Read and write a PV: open it, wait for Connected, ask.
func ExampleChannel_Get() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	_, options, iocDone := simulated(ctx, simioc.Record{Name: "LINAC:V", Type: ca.DBRDouble, RTYP: "ao", Value: 1.5, Precision: 2, Units: "kV"})

	client := caclient.New(options)
	done := make(chan error, 1)
	go func() { done <- client.Run(ctx) }() // all sockets, goroutines and timers are Run's

	w := waiting{make(chan struct{}, 1)}
	channel := client.Open("LINAC:V", w)
	<-w.connected
	info, _ := channel.Info()
	fmt.Println(info.Native, "x", info.Count, "writable:", info.Writable)

	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	value, err := channel.Get(limited, ca.DBRDouble, 1) // not from a handler: it would wait for itself
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(math.Float64frombits(binary.BigEndian.Uint64(value.Payload)))

	properties, err := channel.Get(limited, info.Native.Ctrl(), 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	meta, err := ca.DecodeCtrl(properties.Type, properties.Count, properties.Payload)
	fmt.Println(meta.Units, meta.Precision, err)

	if err := channel.PutValues(limited, []float64{2.5}, true); err != nil {
		fmt.Println(err)
		return
	}
	value, err = channel.Get(limited, ca.DBRString, 1) // the IOC converts
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ca.Text(value.Payload))

	channel.Close()
	stop() // ends Run, which waits for its goroutines
	fmt.Println(<-done, <-iocDone)
	// Output:
	// DBR_DOUBLE x 1 writable: true
	// 1.5
	// kV 2 <nil>
	// 2.50
	// <nil> <nil>
}

// printing is a Handler that monitors. Its methods are called one at a time,
// by a goroutine of the client.
type printing struct{ updates chan string }

// Connected subscribes; later reconnections renew the monitor by themselves.
func (p printing) Connected(ch *caclient.Channel, info caclient.Info) {
	p.updates <- fmt.Sprint("connected ", ch.Name(), " ", info.Native)
	ch.Subscribe(ca.MaskLog | ca.MaskAlarm)
}

// Disconnected is called with the reason; the name is searched again.
func (p printing) Disconnected(ch *caclient.Channel, _ error) {
	p.updates <- "disconnected " + ch.Name()
}

// Update may block, which slows this circuit and no other. The payload is gone
// when it returns.
func (p printing) Update(ch *caclient.Channel, u caclient.Update) {
	if u.Status != ca.StatusNormal {
		p.updates <- ca.StatusName(u.Status) // no read access, say
		return
	}
	_, stamp, err := ca.DecodeTime(nil, u.Type, u.Count, false, u.Payload)
	if err != nil {
		p.updates <- err.Error()
		return
	}
	value := int32(binary.BigEndian.Uint32(u.Payload[u.Type.ValueOffset():]))
	p.updates <- fmt.Sprint(stamp.Time.Sec, " ", value, " severity ", stamp.Severity)
}

// Monitor a PV through the loss of its IOC.
func ExampleClient() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ioc, options, iocDone := simulated(ctx, simioc.Record{Name: "LINAC:COUNT", Type: ca.DBRLong, Value: 1})
	put := func(value int32, severity int16) {
		at := schema.Time{Sec: 1_700_000_000 + int64(value)}
		if err := ioc.Put("LINAC:COUNT", value, simioc.WithTime(at), simioc.WithAlarm(severity, 0)); err != nil {
			fmt.Println(err)
		}
	}
	put(1, 0)

	client := caclient.New(options)
	done := make(chan error, 1)
	go func() { done <- client.Run(ctx) }()
	p := printing{make(chan string, 10)}
	client.Open("LINAC:COUNT", p)

	fmt.Println(<-p.updates)
	fmt.Println(<-p.updates)
	put(2, 1)
	fmt.Println(<-p.updates)
	ioc.DisconnectAll()
	for range 3 {
		fmt.Println(<-p.updates)
	}
	stop() // no Disconnected follows
	fmt.Println(<-done, <-iocDone)
	// Output:
	// connected LINAC:COUNT DBR_LONG
	// 1700000001 1 severity 0
	// 1700000002 2 severity 1
	// disconnected LINAC:COUNT
	// connected LINAC:COUNT DBR_LONG
	// 1700000002 2 severity 1
	// <nil> <nil>
}

// The settings of EPICS clients, and what is odd in them.
func ExampleOptionsFromEnv() {
	environment := map[string]string{
		"EPICS_CA_ADDR_LIST": "10.1.1.255 ioc7:5070", "EPICS_CA_AUTO_ADDR_LIST": "NO", "EPICS_CA_CONN_TMO": "soon",
	}
	options, warnings := caclient.OptionsFromEnv(func(name string) string { return environment[name] }) // os.Getenv
	fmt.Println(options.AddrList, *options.AutoAddrList, len(warnings))
	// Output: [10.1.1.255 ioc7:5070] false 1
}
