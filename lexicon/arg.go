package lexicon

import (
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport"
)

// argument is what one name of an argument says.
type argument struct {
	role sallyport.Role
	kind ValueKind
}

// arguments holds the names that mean the same on every server. It is
// written as role and kind, then the names in singular.
var arguments = func() map[string]argument {
	m := map[string]argument{}
	set := func(role sallyport.Role, kind ValueKind, names string) {
		for _, n := range strings.Fields(names) {
			m[n] = argument{role, kind}
		}
	}
	t, s, c, cr, v, co, k := sallyport.Target, sallyport.Selector, sallyport.Command, sallyport.Credential, sallyport.Value, sallyport.Content, sallyport.Control
	set(t, Email, "email e_mail mail email_address cc bcc to_email recipient_email user_email to_address invitee_email reply_to")
	set(t, Name, `recipient to receiver addressee participant attendee invitee guest member assignee collaborator reviewer user username user_name
		channel channel_name room chat conversation group team organization org owner new_owner payee beneficiary merchant vendor supplier
		hotel restaurant company hotel_name restaurant_name company_name airline store shop seller driver doctor repo repository repo_name
		namespace bucket project workspace audience person people friend contact dest destination_user login follower to_user target_user
		phone phone_number mobile device topic queue server service cluster environment table database`)
	set(t, Account, "iban account account_number bank_account bank_account_number to_account recipient_account recipient_iban wallet to_wallet card card_number destination_account receiver_account address_wallet")
	set(t, URL, "url uri link href website webpage site endpoint webhook webhook_url callback callback_url redirect_uri remote remote_url origin_url image_url repo_url clone_url target_url page_url")
	set(t, Host, "host hostname domain ip ip_address")
	set(t, Path, "path file_path filepath filename file_name destination_path dest_path target_path output_path save_dir save_path output_file directory dir folder dest destination output new_path new_name target_file local_path remote_path")
	set(t, "", "target to_id recipient_id parent destination_id receiver_id")
	set(s, ID, `id uuid key_id message_id email_id event_id file_id order_id item_id product_id user_id account_id transaction_id payment_id
		reservation_id booking_id issue_id issue_number pull_number number ticket_id task_id note_id comment_id thread_id channel_id repo_id
		post_id tweet_id record_id document_id folder_id page_id customer_id card_id subscription_id invoice_id refund_id job_id run_id
		session_id sha ref uid guid slug index`)
	set(s, Path, "source source_path src src_path from_path old_path input_path source_file")
	set(s, Account, "from_account source_account sender_account sender_iban")
	set(s, Name, "name branch base head tag label sender author from milestone column field sheet version product product_name item city country region origin departure_city arrival_city location_name symbol ticker playlist folder_name")
	set(c, "", "command cmd script code sql query_string expression statement shell program args argv arguments function javascript eval lambda cypher graphql")
	set(cr, "", "password passwd passphrase secret token api_key apikey access_token auth_token key private_key public_key ssh_key credential pin cvv new_password old_password current_password")
	set(cr, Code, "otp code verification_code one_time_code security_code mfa_code totp two_factor_code")
	set(v, Amount, "amount price cost total sum value fee budget price_min price_max min_price max_price tip balance rate")
	set(v, Date, `date day time start end start_time end_time start_date end_date start_day end_day due due_date deadline datetime timestamp
		new_start_time new_end_time check_in check_out checkin checkout departure arrival since until before after when begin expiry
		expires expiration month year week hour`)
	set(v, "", `count quantity qty n duration size width height rating rating_min rating_max stars priority percent percentage weight recurring
		frequency interval timeout color colour status state type category currency timezone permission role access level visibility private
		public language locale brand cuisine first_name last_name street zip postcode passengers seats nights guests rooms temperature
		latitude longitude lat lon lng`)
	set(v, Code, "coupon discount_code promo_code voucher gift_code")
	set(co, FreeText, `body content text message subject title description comment note notes summary caption reason memo html markdown
		remark bio details detail feedback review question answer prompt instructions post tweet headline greeting reference purpose thought
		location venue address agenda label_text new_content content_text data payload contents paragraph snippet commit_message`)
	set(co, Path, "attachment attachments")
	set(k, "", `limit offset page page_size per_page cursor max_results max min sort order order_by sort_by direction format verbose debug
		recursive force dry_run include exclude fields columns depth encoding mode view language_code filter filters unread all timeout_ms
		overwrite confirm head tail pattern exclude_patterns wait headless full_page raw max_length start_index start_line end_line`)
	set(k, FreeText, "query q search keyword keywords term search_term search_query")
	return m
}()

// Arg proposes the role and the kind of an argument from its name and
// description, and says why in a few words. What it does not know is a
// target of no kind, the most guarded. The description can only make an
// argument more guarded, never less.
func Arg(name, description string) (role sallyport.Role, kind ValueKind, why string) {
	tokens := Tokens(name)
	for i, t := range tokens {
		if i == len(tokens)-1 {
			tokens[i] = singularArg(t)
		}
	}
	full := strings.Join(tokens, "_")
	low := strings.ToLower(description)
	raise := func(a argument, why string) (sallyport.Role, ValueKind, string) {
		switch {
		case a.role == sallyport.Target && a.kind != Account && strings.Contains(low, "iban"):
			return a.role, Account, why + "; the description speaks of an IBAN"
		case a.role == sallyport.Target && a.kind == Name && (strings.Contains(low, "email address") || strings.Contains(low, "e-mail address")):
			return a.role, Email, why + "; the description speaks of an e-mail address"
		case a.role == sallyport.Target && a.kind == Name && strings.Contains(low, "url"):
			return a.role, URL, why + "; the description speaks of a URL"
		case (a.role == sallyport.Content || a.role == sallyport.Value || a.role == sallyport.Control) && (strings.Contains(low, "shell command") || strings.Contains(low, "sql query") || strings.Contains(low, "sql statement")):
			return sallyport.Command, "", why + "; the description speaks of a command"
		}
		return a.role, a.kind, why
	}
	if a, ok := arguments[full]; ok {
		return raise(a, "the name "+full)
	}
	// Words that decorate a name: "new_title", "hotel_names", "user_ids".
	core := tokens
	for len(core) > 1 && slices.Contains([]string{"new", "old", "input", "the", "my", "current", "updated", "given", "default", "original", "selected", "primary", "secondary", "optional", "is"}, core[0]) {
		core = core[1:]
	}
	for len(core) > 1 && allDigits(core[len(core)-1]) {
		core = core[:len(core)-1]
	}
	if len(core) < len(tokens) {
		core[len(core)-1] = singularArg(core[len(core)-1])
		if a, ok := arguments[strings.Join(core, "_")]; ok {
			return raise(a, "the name "+strings.Join(core, "_"))
		}
	}
	if n := len(core); n > 1 {
		last := core[n-1]
		switch last {
		case "id", "uuid", "number", "ref", "sha", "slug":
			return raise(argument{sallyport.Selector, ID}, "ends in _"+last)
		case "name":
			return raise(argument{sallyport.Target, Name}, "ends in _name")
		case "email", "mail":
			return raise(argument{sallyport.Target, Email}, "ends in _"+last)
		case "url", "uri", "link", "webhook":
			return raise(argument{sallyport.Target, URL}, "ends in _"+last)
		case "path", "file", "dir", "directory", "folder", "filename":
			return raise(argument{sallyport.Target, Path}, "ends in _"+last)
		case "time", "date", "day", "at", "until", "deadline":
			return raise(argument{sallyport.Value, Date}, "ends in _"+last)
		case "amount", "price", "cost", "fee", "total", "value":
			return raise(argument{sallyport.Value, Amount}, "ends in _"+last)
		case "count", "quantity", "size", "type", "status", "limit", "min", "max", "level", "mode", "rate", "days", "hours", "minutes":
			return raise(argument{sallyport.Value, ""}, "ends in _"+last)
		case "password", "secret", "token", "key", "pin", "passphrase":
			return raise(argument{sallyport.Credential, ""}, "ends in _"+last)
		case "code", "otp":
			return raise(argument{sallyport.Credential, Code}, "ends in _"+last)
		case "text", "body", "message", "description", "content", "comment", "note", "title", "subject", "summary":
			return raise(argument{sallyport.Content, FreeText}, "ends in _"+last)
		case "account", "iban", "wallet":
			return raise(argument{sallyport.Target, Account}, "ends in _"+last)
		case "query":
			return raise(argument{sallyport.Control, FreeText}, "ends in _query")
		case "command", "cmd", "script", "sql":
			return raise(argument{sallyport.Command, ""}, "ends in _"+last)
		case "recipient", "user", "member", "owner", "participant", "attendee", "channel", "host", "address", "target", "destination":
			return raise(argument{sallyport.Target, arguments[last].kind}, "ends in _"+last)
		}
	}
	return raise(argument{}, "the name says nothing, so it is a target")
}

// singularArg is the singular of an argument's last word: "recipients".
func singularArg(t string) string {
	if _, ok := arguments[t]; ok {
		return t
	}
	for _, s := range singulars(t) {
		if _, ok := arguments[s]; ok {
			return s
		}
	}
	if t == "ids" {
		return "id"
	}
	for _, s := range singulars(t) {
		return s
	}
	return t
}
