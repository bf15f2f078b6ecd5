package streams

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// visitorIdle bounds how long a visitor's consumer outlives its owner.
const visitorIdle = time.Hour

// gate creates consumers for visitors. The server would take any: one that
// overwrites "archive", one that pushes into a stream's subject, one that stays
// for ever. So their requests come here, and only those for a consumer that dies
// when idle and delivers to its owner go on to the server.
type gate struct {
	nc *nats.Conn
}

// consumerRequest is what the gate reads of a request to create a consumer.
type consumerRequest struct {
	Stream string `json:"stream_name"`
	Config struct {
		Name           string        `json:"name"`
		Durable        string        `json:"durable_name"`
		DeliverSubject string        `json:"deliver_subject"`
		Inactive       time.Duration `json:"inactive_threshold"`
		Sourcing       bool          `json:"sourcing"`
	} `json:"config"`
}

func (g gate) open() error {
	_, err := g.nc.Subscribe(createPrefix+">", g.handle)
	if err != nil {
		return fmt.Errorf("listen for visitors' consumers: %w", err)
	}
	return nil
}

// handle answers one request. The server's answer passes through unchanged.
func (g gate) handle(m *nats.Msg) {
	target := strings.TrimPrefix(m.Subject, createPrefix)
	if reason := refuse(target, m.Data); reason != "" {
		respond(m, reason)
		return
	}
	answer, err := g.nc.Request("$JS.API.CONSUMER.CREATE."+target, m.Data, apiTimeout)
	if err != nil {
		respond(m, err.Error())
		return
	}
	// A visitor who has left cannot be answered; its consumer dies when idle.
	_ = m.Respond(answer.Data)
}

// refuse says why a visitor may not create this consumer, "" if it may. target
// is <stream>[.<name>[.<filter>]].
func refuse(target string, body []byte) string {
	var r consumerRequest
	if err := json.Unmarshal(body, &r); err != nil {
		return "this is no request for a consumer"
	}
	_, rest, _ := strings.Cut(target, ".")
	name, _, _ := strings.Cut(rest, ".")
	switch {
	case name == ArchiveName || r.Config.Name == ArchiveName || r.Config.Durable == ArchiveName:
		return "the consumer archive belongs to pvlog"
	case r.Config.DeliverSubject != "" && !strings.HasPrefix(r.Config.DeliverSubject, "_INBOX."), r.Config.Sourcing:
		return "without a credential a consumer can be pulled from, or deliver to _INBOX.>"
	case r.Config.Durable != "" && r.Config.Inactive <= 0, r.Config.Inactive > visitorIdle:
		return fmt.Sprintf("without a credential a consumer has an inactive threshold, of %v at most", visitorIdle)
	}
	return ""
}

// respond sends an error in JetStream's own form.
func respond(m *nats.Msg, reason string) {
	type apiError struct {
		Code        int    `json:"code"`
		ErrCode     int    `json:"err_code"`
		Description string `json:"description"`
	}
	body, err := json.Marshal(struct {
		Type  string   `json:"type"`
		Error apiError `json:"error"`
	}{"io.nats.jetstream.api.v1.consumer_create_response", apiError{403, 0, "pvlog: " + reason}})
	if err == nil {
		_ = m.Respond(body)
	}
}
