// Package lexicon holds the general words of English that requests, tool
// names and tool descriptions are made of: which verbs ask for which
// operation, and which nouns name which kind of object. There is one reviewed
// data file, words.yaml; nothing in it belongs to one server.
package lexicon

// Op is what a tool does, or a verb asks for.
type Op string

const (
	Read   Op = "read"   // look at, list, search; changes nothing
	Send   Op = "send"   // a message to named people
	Post   Op = "post"   // content to a place that many read
	Create Op = "create" // a new object of the user's own
	Add    Op = "add"    // something into an existing object
	Update Op = "update" // an existing object changes
	Delete Op = "delete" // remove, cancel, clear
	Grant  Op = "grant"  // invite, share, give access, transfer ownership
	Revoke Op = "revoke" // take access away
	Pay    Op = "pay"    // money moves: pay, transfer, refund, check out
	Book   Op = "book"   // reserve, order
	Auth   Op = "auth"   // log in, verify, change a password or a key
	Copy   Op = "copy"   // copy, move, download, upload, clone, push
	Exec   Op = "exec"   // run code, a command, anything unknown
)

// Ops lists every Op.
var Ops = []Op{Read, Send, Post, Create, Add, Update, Delete, Grant, Revoke, Pay, Book, Auth, Copy, Exec}

// ValueKind is what sort of thing an argument or a value in a text is.
type ValueKind string

const (
	Email    ValueKind = "email"
	URL      ValueKind = "url"
	Host     ValueKind = "host"
	Account  ValueKind = "account" // IBAN, card or account number
	Path     ValueKind = "path"    // file name or path
	ID       ValueKind = "id"      // opaque identifier of one server
	Name     ValueKind = "name"    // of a person, a channel, a hotel, a repository
	Amount   ValueKind = "amount"
	Date     ValueKind = "date"
	Code     ValueKind = "code" // one-time code, coupon
	FreeText ValueKind = "text"
)

// ValueKinds lists every ValueKind.
var ValueKinds = []ValueKind{Email, URL, Host, Account, Path, ID, Name, Amount, Date, Code, FreeText}
