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
	// What a record is called, though people write it.
	titleWords = []string{"title", "subject", "topic", "name", "filename"}
	// Fields in which an address of each kind is at home: one that stands
	// elsewhere was put there.
	emailWords = []string{
		"account", "addr", "address", "addresses", "assignee", "attendee", "attendees", "author", "bcc", "cc", "collaborator", "collaborators", "contact",
		"creator", "email", "emails", "from", "guest", "guests", "invitee", "invitees", "mail", "member", "members", "organizer", "owner", "participant",
		"participants", "recipient", "recipients", "reply", "sender", "shared", "to", "user", "users", "username",
	}
	accountWords = []string{"account", "beneficiary", "card", "creditor", "debtor", "from", "iban", "number", "payee", "payer", "recipient", "sender", "to", "wallet"}
	urlWords     = []string{"avatar", "domain", "endpoint", "homepage", "host", "hostname", "href", "image", "link", "links", "page", "permalink", "photo", "remote", "site", "source", "uri", "url", "urls", "webpage", "website"}
	dateWords    = []string{
		"arrival", "at", "birthday", "checkin", "checkout", "closes", "created", "date", "dates", "day", "days", "deadline", "departure", "due", "end", "ends", "expires",
		"expiry", "from", "hours", "last", "modified", "month", "next", "on", "opens", "opening", "since", "start", "starts", "time", "times", "timestamp", "to", "until", "updated", "when", "year",
	}
	amountWords = []string{
		"amount", "balance", "budget", "charge", "cost", "costs", "count", "credit", "deposit", "discount", "fee", "fees", "limit", "net", "paid", "price", "prices", "quantity",
		"rate", "rent", "salary", "size", "subtotal", "sum", "tax", "tip", "total", "value", "vat", "wage",
	}
	// Arguments that say whom something new is for.
	personWords = []string{
		"assignee", "assignees", "attendee", "attendees", "bcc", "cc", "collaborator", "collaborators", "guest", "guests", "invitee", "invitees", "member", "members",
		"participant", "participants", "recipient", "recipients", "reviewer", "reviewers", "to", "users",
	}
	idWords = []string{"id", "ids", "uuid", "guid", "key", "ref", "reference", "handle", "slug"}
)

func freeKey(k string) bool { return hasWord(k, freeWords) }

// atHome reports whether a field with this key is one for values of this
// kind.
func atHome(kind lexicon.ValueKind, key string) bool {
	switch kind {
	case lexicon.Email:
		return hasWord(key, emailWords)
	case lexicon.Account:
		return hasWord(key, accountWords)
	case lexicon.URL, lexicon.Host:
		return hasWord(key, urlWords)
	case lexicon.Date:
		return hasWord(key, dateWords)
	case lexicon.Amount:
		return hasWord(key, amountWords)
	}
	return true
}

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
