package catalog

import (
	"strings"
	"sync"

	"github.com/sallyport-dev/sallyport/lexicon"
)

// What verbs mean in the name of a tool. It is narrower than what people ask
// for with them: nobody calls a tool get_flight that books one. A verb that
// is not here means nothing known: the tool runs something, and acts.
// A verb after "~" is a common noun too (post, order, file): it counts only
// where no plainer verb does.
var toolVerbs = map[lexicon.Op]string{
	lexicon.Read: `get list read search find fetch ~query show view describe look lookup check retrieve display browse inspect
		scan summarize summarise analyze analyse calculate compute ~estimate predict ~forecast compare ~preview peek stat detect
		identify ~extract parse translate geocode think recall ~track ~monitor ~watch ~poll wait ping echo ~measure
		explain suggest recommend ~filter validate lint count whoami diff discover capture enumerate ~explore ~access
		introspect examine locate ls cat ~head tail grep glob ~tree hover ~screenshot ~quote`,
	lexicon.Send: `send ~reply respond forward notify resend ~dispatch ~remind ~email ~mail ~message ~dm ~sms ~text ~contact ~call
		~dial ~phone ~fax ~alert ~page ~broadcast ~chat tell inform answer`,
	lexicon.Post: `publish ~post ~tweet ~retweet repost announce react ~vote upvote downvote like unlike ~rate ~comment ~review
		follow unfollow advertise ~reply`,
	lexicon.Create: `create make generate ~draft new init initialize initialise compose write save ~store ~record ~build define
		setup provision insert ~note ~log mkdir touch scaffold spawn begin ~open compose upsert put ~commit ~branch ~tag
		~bookmark ~issue ~schedule`,
	lexicon.Add: `add append ~input fill submit ~type attach include join enroll enrol prepend`,
	lexicon.Update: `update finalize finalise organize organise group sort edit modify change set rename replace ~patch reschedule postpone adjust configure toggle mark ~archive
		unarchive ~close reopen ~pin unpin mute unmute enable disable increase decrease ~exchange upsert write alter overwrite
		reset restore revert undo ~merge rebase ~star unstar ~flag resolve unresolve ~complete assign unassign ~label turn
		transition ~snooze unsubscribe subscribe activate deactivate suspend correct amend ~switch select ~scale swap
		redirect leave turnon turnoff ~lock convert ~format accept decline reject ~stash`,
	lexicon.Delete: `delete remove cancel ~clear drop purge destroy erase trash uninstall terminate kill discard wipe ~empty void
		prune rm rmdir unlink expire dismiss truncate unsend abort shutdown cleanup`,
	lexicon.Grant: `grant ~share invite allow authorize authorise permit approve delegate promote unlock unblock whitelist
		allowlist unban expose admit trust elevate`,
	lexicon.Revoke: `revoke unshare ~ban ~kick ~block deny demote restrict expel evict blacklist blocklist disallow uninvite`,
	lexicon.Pay: `pay ~transfer ~refund ~charge checkout ~purchase buy sell ~trade ~deposit withdraw donate ~tip ~bid reimburse settle
		redeem ~return ~bill payout remit wire`,
	lexicon.Book: `~book reserve ~order ~place ~rent hire consult ~request checkin rebook`,
	lexicon.Auth: `login logout signin signout signup authenticate verify confirm register connect reauthenticate autofill
		impersonate ~sign deregister rotate`,
	lexicon.Copy: `copy ~clone move upload download ~import ~export ~backup ~sync ~pull ~push ~fork ~duplicate migrate mirror cp mv
		scp rsync replicate rename`,
	lexicon.Exec: `~run execute exec eval evaluate invoke trigger launch start restart stop deploy install apply submit click
		~type ~press fill navigate drag ~input ~control ~play ~handle manage ~process perform do compile rollback ~drain cordon
		~hand ~go reboot resume pause retry rerun ~command ~shell ~script ~terminal ~ssh ~use simulate train manipulate give`,
}

// verbWord is a verb of a tool's name.
type verbWord struct {
	ops      []lexicon.Op
	nounable bool
}

var verbWords = sync.OnceValue(func() map[string]verbWord {
	m := map[string]verbWord{}
	for _, op := range lexicon.Ops {
		for _, w := range strings.Fields(toolVerbs[op]) {
			w, noun := strings.CutPrefix(w, "~")
			v := m[w]
			m[w] = verbWord{appendNew(v.ops, op), v.nounable || noun}
		}
	}
	return m
})

// Two words of a name that are one verb.
var verbPairs = map[string]string{
	"check out": "checkout", "check in": "checkin", "log in": "login", "log out": "logout", "sign in": "signin", "sign up": "signup",
	"sign out": "signout", "set up": "setup", "look up": "lookup", "turn on": "turn", "turn off": "turn", "shut down": "shutdown",
	"roll back": "rollback", "clean up": "cleanup", "back up": "backup", "auto fill": "autofill", "top up": "deposit",
	"web search": "search", "take screenshot": "capture", "take snapshot": "create", "pull request": "pr", "merge request": "pr",
	"direct message": "direct message",
}

// A name without a verb that ends in one of these asks for it.
var readNouns = words("status info information detail history total balance summary statistic stat metadata version weather forecast log top")

// After these words of a name stands how, not what.
var howWords = words("by through via with using for based given matching per like")

// After these words of a name stands where.
var whereWords = words("to in into on onto from of at within inside under")

// Nouns, by what an effect on them means. They are canonical nouns of the
// lexicon, or words of a name.
var (
	moneyNouns  = words("payment refund money fund payout transaction iban wallet loan order cart checkout invoice stock charge ether dispute")
	ordersNouns = words("order cart checkout subscription")
	bookNouns   = words("request booking reservation appointment shipment prescription order subscription trip")
	secretNouns = words("password key secret token credential authentication passphrase 2fa mfa passkey apikey vault env")
	peopleNouns = words("user member participant attendee guest collaborator membership contributor assignee role permission access group team sharing ownership privilege policy admin filter forwarding")
	powerNouns  = words("role permission access sharing ownership privilege policy admin webhook visibility privacy firewall collaborator member membership filter forwarding")
	accountNoun = words("account profile user customer address setting preference policy info information")
	deployNouns = words("deployment release pipeline workflow server container pod cluster namespace service function job instance image stack contract environment build helm chart applet automation zap rule trigger macro cron")
	publicNouns = words("comment post tweet review issue pull pr gist release reply blog article page website webpage discussion merge")
	talkNouns   = words("message email channel dm sms mail thread chat")
	webNouns    = words("web page webpage url site website browse browser review rating news article rss feed download html scrape")
	mailNouns   = words("email mail inbox message comment issue notification post tweet reply thread ticket pull discussion sms feedback timeline reminder")
	fileNouns   = words("file document attachment content contents note node blob log output snippet code readme page record row query sql table")
	personNouns = words("contact user member people participant friend colleague employee team payee account profile self iban balance")
	openNouns   = words("web webpage website url browse browser")
	adjectives  = words("recent current new unread latest last next available all day open multiple direct specific own current default")
	chatWords   = words("channel message dm inbox thread conversation chat history reply")
	mailWords   = words("email mail e sms comment issue review notification")
	ownNouns    = words("sent draft outbox")
)

// Words of a tool's name or description that say how confidential its results
// are.
var (
	restrictedWords   = words("password secret credential token key passport ssn medical health genetic prescription patient criminal clinical")
	confidentialWords = words("email mail message inbox file document account transaction balance payment invoice statement user customer contact profile order reservation booking database query sql chat dm history card address salary memory note record sms personal cart wishlist location shipment package discount note")
	internalWords     = words("calendar event task issue ticket project repository repo channel team member page pull branch commit job board device reminder list directory folder directories")
	publicWords       = words("weather hotel restaurant flight airport product news map direction route review post tweet time day date rating price stock currency exchange train car company rental city word definition docs documentation calculate")
)

// The third person and the infinitive of these verbs in a description say
// that a call does more than its name admits.
var effectVerbs = map[string]lexicon.Op{
	"send": lexicon.Send, "email": lexicon.Send, "notify": lexicon.Send, "message": lexicon.Send, "forward": lexicon.Send,
	"invite": lexicon.Grant, "share": lexicon.Grant, "grant": lexicon.Grant, "authorize": lexicon.Grant,
	"charge": lexicon.Pay, "pay": lexicon.Pay, "purchase": lexicon.Pay, "buy": lexicon.Pay, "refund": lexicon.Pay, "withdraw": lexicon.Pay,
	"delete": lexicon.Delete, "remove": lexicon.Delete, "erase": lexicon.Delete, "destroy": lexicon.Delete, "cancel": lexicon.Delete,
	"overwrite": lexicon.Delete, "wipe": lexicon.Delete, "terminate": lexicon.Delete, "purge": lexicon.Delete,
	"publish": lexicon.Post, "post": lexicon.Post, "upload": lexicon.Copy, "submit": lexicon.Exec, "execute": lexicon.Exec, "run": lexicon.Exec,
	"trigger": lexicon.Exec, "perform": lexicon.Exec, "invoke": lexicon.Exec, "deploy": lexicon.Exec, "install": lexicon.Exec,
	"revoke": lexicon.Revoke, "transfer": lexicon.Grant, "create": lexicon.Create, "update": lexicon.Update, "modify": lexicon.Update, "write": lexicon.Update,
}

// What a description calls a thing that cannot be undone.
var finalWords = []string{"irreversibl", "permanently", "cannot be undone", "can't be undone", "destructive", "not reversible", "no way back"}

// wordSet holds words in base form.
type wordSet map[string]bool

func words(list string) wordSet {
	m := wordSet{}
	for _, w := range strings.Fields(list) {
		m[w] = true
	}
	return m
}

// first returns the first of list that is in the set, or "".
func (s wordSet) first(list []string) string {
	for _, w := range list {
		if s[w] {
			return w
		}
	}
	return ""
}
