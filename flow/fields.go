package flow

import (
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport-dev/sallyport/lexicon"
)

var pointerEscape = strings.NewReplacer("~", "~0", "/", "~1")

func itoa(i int) string { return strconv.Itoa(i) }

// top is the name of the argument that a JSON pointer leads into.
func top(at string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(at, "/"), "/")
	return unescape(name)
}

// last is the innermost name of a pointer; array indices have none of their
// own.
func last(at string) string {
	parts := strings.Split(strings.TrimPrefix(at, "/"), "/")
	for i := len(parts) - 1; i > 0; i-- {
		if !onlyDigits(parts[i]) {
			return unescape(parts[i])
		}
	}
	return unescape(parts[0])
}

func unescape(s string) string {
	if !strings.Contains(s, "~") {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "~1", "/"), "~0", "~")
}

// clip bounds what is read of one text.
func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// The words that the key of a field is made of.
var (
	// Fields that people write, however short: any value may stand there.
	freeWords = []string{
		"abstract", "about", "bio", "body", "caption", "comment", "comments", "content", "contents", "description", "details", "error", "excerpt",
		"feedback", "html", "instructions", "markdown", "memo", "message", "messages", "note", "notes", "preview", "reason", "remark", "remarks", "review",
		"reviews", "snippet", "statement", "subject", "summary", "text", "title", "topic",
	}
	// Fields in which an address is at home.
	addressWords = []string{
		"account", "addr", "address", "addresses", "assignee", "attendee", "attendees", "author", "bcc", "beneficiary", "cc", "collaborator",
		"collaborators", "contact", "creator", "email", "emails", "from", "host", "homepage", "href", "iban", "link", "links", "mail", "member", "members",
		"organizer", "owner", "participant", "participants", "payee", "recipient", "recipients", "reply", "sender", "shared", "to", "uri", "url", "urls",
		"user", "users", "username", "website", "site",
	}
	idWords = []string{"id", "ids", "uuid", "guid", "key", "ref", "reference", "handle", "slug"}
)

func freeKey(k string) bool { return hasWord(k, freeWords) }

func addressKey(k string) bool { return hasWord(k, addressWords) }

func idKey(k string) bool { return hasWord(k, idWords) }

func hasWord(k string, list []string) bool {
	if k == "" {
		return false
	}
	for _, w := range lexicon.Tokens(k) {
		if slices.Contains(list, w) {
			return true
		}
	}
	return false
}

// publicMail are domains in which anybody can have an address: that somebody
// shares one with the user says nothing.
var publicMail = map[string]bool{
	"gmail.com": true, "googlemail.com": true, "outlook.com": true, "hotmail.com": true, "live.com": true, "yahoo.com": true, "icloud.com": true, "me.com": true,
	"proton.me": true, "protonmail.com": true, "gmx.de": true, "gmx.net": true, "web.de": true, "aol.com": true, "mail.com": true, "zoho.com": true, "qq.com": true,
	"163.com": true, "yandex.ru": true, "mail.ru": true, "t-online.de": true, "orange.fr": true, "libero.it": true,
}
