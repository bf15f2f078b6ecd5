package caclient_test

import (
	"testing"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/ingest/simioc"
)

func TestTraceTellsWhereAChannelStands(t *testing.T) {
	silent := newServer(t, nil)
	client := run(t, caclient.Options{}, silent.addr())
	dead := client.Open("T:DEAD", newRecorder())
	take(t, silent.searches, "first search")
	take(t, silent.searches, "second search")
	trace := dead.Trace()
	if trace.State != caclient.Searched || trace.Search.Tries < 2 || trace.Search.Last.IsZero() || !trace.Search.Due.After(trace.Search.Last) {
		t.Errorf("searched: %+v", trace)
	}
	if len(trace.UDP) != 1 || trace.UDP[0].String() != silent.addr() || trace.Connected || trace.Server.IsValid() {
		t.Errorf("places: %+v", trace)
	}

	ioc, stop := startIOC(t, simioc.Options{Prefix: "demo:", Records: simioc.Demo()})
	client = run(t, caclient.Options{}, ioc.Addr())
	r := newRecorder()
	alive := client.Open(ioc.Names()[0], r)
	take(t, r.connected, "connection")
	take(t, r.updates, "update")
	trace = alive.Trace()
	if trace.State != caclient.Connected || !trace.Connected || !trace.Dialled || trace.Heard.IsZero() || trace.Circuit != ca.CircuitQuiet {
		t.Errorf("connected: %+v", trace)
	}
	if trace.Mask == 0 || trace.Server != trace.Found || trace.Search.Tries != 0 {
		t.Errorf("connected: %+v", trace)
	}
	stop()
	take(t, r.disconnected, "loss")
	if trace = alive.Trace(); trace.Connected || !trace.Found.IsValid() || trace.State == caclient.Connected {
		t.Errorf("lost: %+v", trace)
	}
}
