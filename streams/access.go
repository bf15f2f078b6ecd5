package streams

import (
	"crypto/rand"

	"github.com/nats-io/nats-server/v2/server"
)

// ourUser has all rights; its password is made at each start and never leaves
// the process. Everybody else is visitorUser, who may look (design D17).
const (
	ourUser     = "pvlog"
	visitorUser = "visitor"
)

// inboxPrefix is where the server answers us. Visitors listen on _INBOX.> and
// cannot overhear it.
const inboxPrefix = "_PVLOG"

// users gives the two users with fresh passwords.
func users() (ours, visitor *server.User) {
	ours = &server.User{Username: ourUser, Password: rand.Text()}
	visitor = &server.User{Username: visitorUser, Password: rand.Text(), Permissions: visitorPermissions()}
	return ours, visitor
}

// visitorPermissions let a client without credential look at streams and
// consumers, read messages, follow them, and make consumers of its own. Denials
// win over what is allowed.
func visitorPermissions() *server.Permissions {
	archive := SamplesStream + "." + ArchiveName
	return &server.Permissions{
		Publish: &server.SubjectPermission{
			Allow: []string{
				"$JS.API.INFO",
				"$JS.API.STREAM.LIST", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.*",
				"$JS.API.STREAM.MSG.GET.*", "$JS.API.DIRECT.GET.>",
				"$JS.API.CONSUMER.LIST.*", "$JS.API.CONSUMER.NAMES.*", "$JS.API.CONSUMER.INFO.*.*",
				"$JS.API.CONSUMER.CREATE.*", "$JS.API.CONSUMER.CREATE.*.>",
				"$JS.API.CONSUMER.DELETE.*.*", "$JS.API.CONSUMER.MSG.NEXT.*.*",
				"$JS.ACK.>", "$JS.FC.>",
			},
			Deny: []string{
				"$JS.API.CONSUMER.CREATE." + archive, "$JS.API.CONSUMER.CREATE." + archive + ".>",
				"$JS.API.CONSUMER.DELETE." + archive, "$JS.API.CONSUMER.MSG.NEXT." + archive,
				"$JS.ACK." + archive + ".>", "$JS.ACK.*.*." + archive + ".>",
				"$JS.FC." + archive + ".>",
			},
		},
		Subscribe: &server.SubjectPermission{
			Allow: []string{
				SamplesPrefix + ".>", DropsPrefix + ".>", RegistryPrefix + ".>",
				"_INBOX.>", "$JS.EVENT.>",
			},
		},
	}
}
