package ca_test

import (
	"fmt"
	"time"

	"pvlog/ingest/ca"
	"pvlog/schema"
)

// A message is a header of 16 or 24 bytes and a payload.
func ExampleParseMessage() {
	stream := ca.AppendVersion(nil)
	stream = ca.AppendCreateChan(stream, 7, "LINAC:BPM1:X")
	for len(stream) > 0 {
		h, payload, n, err := ca.ParseMessage(stream)
		if err != nil || n == 0 {
			fmt.Println("broken, or not all of it is there:", err)
			return
		}
		fmt.Printf("%s P1=%d payload %q\n", ca.CommandName(h.Command), h.P1, ca.Text(payload))
		stream = stream[n:]
	}
	// Output:
	// VERSION P1=0 payload ""
	// CREATE_CHAN P1=7 payload "LINAC:BPM1:X"
}

// A Splitter cuts what a connection delivers, in whatever pieces.
func ExampleSplitter() {
	message := ca.AppendCreateChan(nil, 7, "LINAC:BPM1:X")
	var stream ca.Splitter
	for _, piece := range [][]byte{message[:5], message[5:20], message[20:]} {
		stream.Filled(copy(stream.Buffer(), piece)) // conn.Read(stream.Buffer())
		for {
			h, payload, _, ok, err := stream.Next()
			if err != nil {
				fmt.Println(err) // the connection is worth nothing now
				return
			}
			if !ok {
				fmt.Println("more bytes are needed")
				break
			}
			fmt.Println(ca.CommandName(h.Command), ca.Text(payload))
		}
	}
	// Output:
	// more bytes are needed
	// more bytes are needed
	// CREATE_CHAN LINAC:BPM1:X
	// more bytes are needed
}

// What a server sends for a value: [ca.AppendTime] encodes it, [ca.DecodeTime]
// makes of it what the archive stores.
func ExampleDecodeTime() {
	at := schema.Time{Sec: 1_700_000_000, Nsec: 5}
	payload, err := ca.AppendTime(nil, ca.DBRTimeDouble, 1, 4, at, []float64{1.5}) // MINOR HIGH
	if err != nil {
		fmt.Println(err)
		return
	}
	event, stamp, err := ca.DecodeTime(nil, ca.DBRTimeDouble, 1, false, payload)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(payload), "bytes become", len(event))
	fmt.Println(stamp.Time.Sec, stamp.Time.Nsec, stamp.Year, stamp.Type, "severity", stamp.Severity, "status", stamp.Status)
	// Output:
	// 24 bytes become 20
	// 1700000000 5 2023 DBR_SCALAR_DOUBLE severity 1 status 4
}

// Units, precision and limits come with a CTRL type.
func ExampleDecodeCtrl() {
	payload, err := ca.AppendDBR(nil, ca.DBRCtrlDouble, ca.Properties{Metadata: ca.Metadata{
		Units: "mm", Precision: 3, Limits: map[string]float64{"HOPR": 10, "LOPR": -10},
	}}, []float64{1.5})
	if err != nil {
		fmt.Println(err)
		return
	}
	meta, err := ca.DecodeCtrl(ca.DBRCtrlDouble, 1, payload)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(meta.Units, meta.Precision, meta.Limits["LOPR"], meta.Limits["HOPR"])
	// Output: mm 3 -10 10
}

// A SearchSchedule says which names to ask for when; the caller sends its
// datagrams, and tells it what was found.
func ExampleSearchSchedule() {
	now := time.Unix(1_700_000_000, 0)
	search := ca.NewSearchSchedule(ca.SearchOptions{Random: func() float64 { return 0.5 }})
	for cid, name := range []string{"LINAC:BPM1:X", "LINAC:BPM1:Y"} {
		if err := search.Add(now, uint32(cid), name, 0, 0); err != nil {
			fmt.Println(err)
		}
	}
	datagram, ok := search.Next(now, nil)
	fmt.Println(len(datagram), ok) // send it to every destination

	// A server answers for the first name:
	reply := ca.AppendSearchReply(ca.AppendDatagramVersion(nil, 0), 0, 5064, ca.AddressOfSender)
	var received ca.Datagram
	if err := received.Parse(reply, ca.ServerPort); err != nil {
		fmt.Println(err)
	}
	for _, r := range received.Replies {
		fmt.Println("found", r.CID, "at port", r.Port, search.Answered(r.CID))
	}
	fmt.Println(search.Len(), "is left, to be asked for in", search.Wait(now, time.Second))
	// Output:
	// 80 true
	// found 0 at port 5064 true
	// 1 is left, to be asked for in 60ms
}

// A restarted server begins with short intervals again, which is how it is known.
func ExampleBeaconTable() {
	now := time.Unix(1_700_000_000, 0)
	table := ca.NewBeaconTable(now)
	beacon := ca.Beacon{Address: 0xC0000201, Port: 5064}
	for range 4 {
		now = now.Add(15 * time.Second)
		beacon.Counter++
		fmt.Print(table.Heard(now, beacon) == ca.BeaconNormal, " ")
	}
	beacon.Counter = 0
	fmt.Println("restarted:", table.Heard(now.Add(5*time.Second), beacon) == ca.BeaconAnomaly)
	// Output: false false true true restarted: true
}

// A Circuit is a connection without the connection: bytes and time go in,
// bytes and events come out. The caller owns the socket, the clock and a lock.
func ExampleCircuit() {
	now := time.Unix(1_700_000_000, 0)
	circuit := ca.NewCircuit(ca.CircuitOptions{User: "operator", Host: "console"}, now)
	const cid = 1
	circuit.Create(now, cid, "LINAC:BPM1:X", ca.MaskLog|ca.MaskAlarm, "the owner")

	// What is to be sent now; without sockets, it is read here.
	sent := func() (headers []ca.Header) {
		for out := circuit.TakeOutput(nil); len(out) > 0; {
			h, _, n, err := ca.ParseMessage(out)
			if err != nil || n == 0 {
				break
			}
			fmt.Println("->", ca.CommandName(h.Command))
			headers, out = append(headers, h), out[n:]
		}
		return headers
	}
	// What the server sends; it would come out of a Splitter.
	arrives := func(h ca.Header, payload []byte) {
		h.PayloadSize = uint32(len(payload))
		circuit.Heard(now)
		switch e := circuit.Handle(h, payload, false); e.Kind {
		case ca.EventConnected:
			fmt.Println("connected:", e.Owner, e.Info.Native, e.Info.Count, "writable", e.Info.Writable)
		case ca.EventUpdate:
			_, stamp, err := ca.DecodeTime(nil, e.Type, e.Count, false, e.Payload)
			fmt.Println("update:", e.Owner, e.Type, stamp.Severity, err)
		}
	}
	sent()
	circuit.Began(now)
	arrives(ca.Header{Command: ca.CmdVersion, Count: ca.MinorVersion}, nil)
	arrives(ca.Header{Command: ca.CmdAccessRights, P1: cid, P2: uint32(ca.AccessRead)}, nil)
	arrives(ca.Header{Command: ca.CmdCreateChan, DataType: uint16(ca.DBRDouble), Count: 1, P1: cid, P2: 55}, nil)
	subscription := sent()[0]

	payload, err := ca.AppendTime(nil, ca.DBRTimeDouble, 0, 0, schema.Time{Sec: now.Unix()}, []float64{1.5})
	if err != nil {
		fmt.Println(err)
	}
	arrives(ca.Header{Command: ca.CmdEventAdd, DataType: uint16(ca.DBRTimeDouble), Count: 1, P1: ca.StatusNormal, P2: subscription.P2}, payload)

	// Silence: Tick asks whether the server is alive.
	now = now.Add(31 * time.Second)
	for _, e := range circuit.Tick(now) {
		fmt.Println("probe:", e.Kind == ca.EventProbe)
	}
	sent()
	// Output:
	// -> VERSION
	// -> CLIENT_NAME
	// -> HOST_NAME
	// -> CREATE_CHAN
	// connected: the owner DBR_DOUBLE 1 writable false
	// -> EVENT_ADD
	// update: the owner DBR_TIME_DOUBLE 0 <nil>
	// probe: true
	// -> ECHO
}
