package ingest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"unicode/utf8"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
)

// peek reads a field of a PV's record once, over the PV's own circuit and
// without a search. It ends by itself: with the answer, the server's refusal,
// the client's time limits of claims and gets, or the circuit. Its methods are
// for caclient only, which calls them one at a time.
type peek struct {
	ask  ca.DBR // type to ask for; none: a connection is the answer
	done func(info caclient.Info, u caclient.Update, err error)
	told bool // done was called
}

// claimOnly asks a peek for nothing but whether the server has the name.
const claimOnly = ca.DBR(0xFFFF)

// look begins a peek. done is called once, mostly later, on the read goroutine
// of the circuit; what it is given is valid during the call.
func look(link *caclient.Channel, name string, ask ca.DBR, done func(caclient.Info, caclient.Update, error)) {
	p := &peek{ask: ask, done: done}
	if _, err := link.Sibling(name, p); err != nil {
		p.end(caclient.Info{}, caclient.Update{}, err)
	}
}

// Connected asks for the value.
func (p *peek) Connected(ch *caclient.Channel, info caclient.Info) {
	if p.ask == claimOnly {
		ch.Close()
		p.end(info, caclient.Update{}, nil)
		return
	}
	ch.GetAsync(p.ask, 0, func(u caclient.Update, err error) {
		ch.Close()
		p.end(info, u, err)
	})
}

// Disconnected says that the server does not have the field, or is gone.
func (p *peek) Disconnected(ch *caclient.Channel, cause error) {
	ch.Close()
	p.end(caclient.Info{}, caclient.Update{}, cause)
}

// Update is never called: a peek does not subscribe.
func (p *peek) Update(*caclient.Channel, caclient.Update) {}

func (p *peek) end(info caclient.Info, u caclient.Update, err error) {
	if !p.told {
		p.told = true
		p.done(info, u, err)
	}
}

// denied reports whether an error is the server's word on one question, after
// which the connection is as good as before.
func denied(err error) bool {
	_, refused := errors.AsType[*caclient.StatusError](err)
	return refused || errors.Is(err, ca.ErrNoChannel)
}

// textOf is an answer in DBR_STRING or DBR_CHAR up to its NUL; "" if it holds
// no text in UTF-8.
func textOf(u caclient.Update) string {
	text := u.Payload
	if u.Type == ca.DBRString {
		text = text[:min(len(text), ca.MaxStringSize)]
	}
	if i := bytes.IndexByte(text, 0); i >= 0 {
		text = text[:i]
	}
	if (u.Type != ca.DBRString && u.Type != ca.DBRChar && u.Type != ca.DBRClassName) || !utf8.Valid(text) {
		return ""
	}
	return string(text)
}

// numberOf is an answer in DBR_DOUBLE.
func numberOf(u caclient.Update) (float64, bool) {
	if u.Type != ca.DBRDouble || u.Count < 1 || len(u.Payload) < 8 {
		return 0, false
	}
	return math.Float64frombits(binary.BigEndian.Uint64(u.Payload)), true
}
