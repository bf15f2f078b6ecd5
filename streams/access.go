package streams

import (
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// ourUser has all rights in the account that holds the streams; its password is
// made for each session and never leaves the process. Everybody else is a
// visitor, who may look and change nothing (design D17).
const (
	ourUser     = "pvlog"
	visitorUser = "visitor"
)

// inboxPrefix is where the server answers us.
const inboxPrefix = "_PVLOG"

// createPrefix is where visitors' requests for consumers arrive, see gate.
const createPrefix = "$PVLOG.CONSUMER.CREATE."

// Visitors live in an account of their own. What they ask of JetStream crosses
// into ours by the imports below, and so do its answers, with subjects that the
// server rewrites: no reply subject that a visitor chooses can put a message
// into a stream.
var (
	visitorServices = []string{
		"$JS.API.INFO",
		"$JS.API.STREAM.LIST", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.*",
		"$JS.API.STREAM.MSG.GET.*", "$JS.API.DIRECT.GET.>",
		"$JS.API.CONSUMER.LIST.*", "$JS.API.CONSUMER.NAMES.*", "$JS.API.CONSUMER.INFO.*.*",
		"$JS.API.CONSUMER.DELETE.*.*", "$JS.API.CONSUMER.MSG.NEXT.*.*",
		"$JS.ACK.>", "$JS.FC.>",
	}
	// _INBOX.> is where a visitor's push consumers deliver; nothing of ours is
	// sent there.
	visitorStreams = []string{SamplesPrefix + ".>", RegistryPrefix + ".>", DropsPrefix + ".>", "_INBOX.>"}
)

// visitorDenied is the archive's consumer, which is ours alone.
var visitorDenied = []string{
	"$JS.API.CONSUMER.DELETE." + SamplesStream + "." + ArchiveName,
	"$JS.API.CONSUMER.MSG.NEXT." + SamplesStream + "." + ArchiveName,
	"$JS.ACK." + SamplesStream + "." + ArchiveName + ".>",
	"$JS.ACK.*.*." + SamplesStream + "." + ArchiveName + ".>",
}

// applyAccounts adds both accounts to the server's options and gives our
// password. It is written as the server's own configuration, which is the only
// way to say all of this.
func applyAccounts(opts *server.Options) (password string, err error) {
	password = rand.Text()
	var exports, imports []string
	for _, s := range append([]string{createPrefix + ">"}, visitorServices...) {
		exports = append(exports, fmt.Sprintf("{service: %q, response_type: stream}", s))
	}
	for _, s := range visitorServices {
		imports = append(imports, fmt.Sprintf("{service: {account: PVLOG, subject: %q}}", s))
	}
	imports = append(imports, fmt.Sprintf("{service: {account: PVLOG, subject: %q}, to: %q}", createPrefix+">", "$JS.API.CONSUMER.CREATE.>"))
	for _, s := range visitorStreams {
		exports = append(exports, fmt.Sprintf("{stream: %q}", s))
		imports = append(imports, fmt.Sprintf("{stream: {account: PVLOG, subject: %q}}", s))
	}
	allowed := append([]string{"$JS.API.CONSUMER.CREATE.>", "$SYS.REQ.USER.INFO"}, visitorServices...)
	config := fmt.Sprintf(`
		accounts {
			PVLOG {
				jetstream: enabled
				users: [{user: %q, password: %q}]
				exports: [%s]
			}
			VISITORS {
				users: [{user: %q, password: %q, permissions: {
					publish: {allow: %s, deny: %s}
					subscribe: {allow: %s}
				}}]
				imports: [%s]
			}
		}
		no_auth_user: %q`,
		ourUser, password, strings.Join(exports, ", "),
		visitorUser, rand.Text(), quoteAll(allowed), quoteAll(visitorDenied), quoteAll(visitorStreams),
		strings.Join(imports, ", "), visitorUser)
	if err := opts.ProcessConfigString(config); err != nil {
		return "", fmt.Errorf("configure accounts: %w", err)
	}
	return password, nil
}

func quoteAll(subjects []string) string {
	quoted := make([]string, len(subjects))
	for i, s := range subjects {
		quoted[i] = fmt.Sprintf("%q", s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
