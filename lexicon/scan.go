package lexicon

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/net/publicsuffix"
)

// Span is one typed value inside of a text: text[Start:End] as it stands
// there. A quoted string is a Span of kind FreeText without its quotes; the
// values inside of it are Spans too.
type Span struct {
	Kind       ValueKind
	Text       string
	Start, End int
}

// Bits of a byte, for deciding what a chunk may be without reading it twice.
const (
	cEnd    = 1 << iota // ends a chunk
	cAt                 // @
	cDot                // .
	cSlash              // /
	cDigit              // 0-9
	cMoney              // $, or the first byte of another currency sign
	cWide               // 0x80 and above
	cMonths             // a capital that starts a month or a currency code
)

var class = func() (t [256]uint8) {
	for c := range 256 {
		switch {
		case c <= ' ' || c == 0x7f || strings.IndexByte("\"<>()[]{}|\\`", byte(c)) >= 0:
			t[c] = cEnd
		case c == '@':
			t[c] = cAt
		case c == '.':
			t[c] = cDot
		case c == '/':
			t[c] = cSlash
		case c >= '0' && c <= '9':
			t[c] = cDigit
		case c == '$':
			t[c] = cMoney
		case c >= 0x80:
			t[c] = cWide
		case c >= 'A' && c <= 'Z':
			t[c] = cMonths
		}
	}
	return
}()

// Scan finds the typed values in a text: addresses, URLs, hosts, accounts,
// file names and paths, amounts with a currency, dates, and quoted strings.
// It reads the text once, in order of Start, and stops at MaxSpans. Invalid
// UTF-8 ends a value.
func Scan(text string) []Span {
	s := scanner{text: text}
	s.run()
	return s.spans
}

type scanner struct {
	text  string
	spans []Span
	// noClose says up to where there is no closing quote of a sort, so that
	// many opening quotes do not read the same text again; shut is where the
	// last quoted string of the sort ended.
	noClose, shut [5]int
}

func (s *scanner) add(kind ValueKind, start, end int) {
	if len(s.spans) < MaxSpans && start < end {
		s.spans = append(s.spans, Span{kind, s.text[start:end], start, end})
	}
}

func (s *scanner) run() {
	text := s.text
	for i := 0; i < len(text) && len(s.spans) < MaxSpans; {
		c := class[text[i]]
		if c&cEnd != 0 {
			if text[i] == '"' || text[i] == '`' {
				s.quote(i)
			}
			i++
			continue
		}
		if c&cWide != 0 {
			if n := s.wideEnd(i); n > 0 {
				s.quote(i)
				i += n
				continue
			}
		}
		if text[i] == '\'' {
			s.quote(i)
		}
		// One chunk: up to a space, a bracket or a quote.
		j := i
		var bits uint8
		for j < len(text) {
			c := class[text[j]]
			if c&cEnd != 0 || c&cWide != 0 && s.wideEnd(j) > 0 {
				break
			}
			if j == i {
				bits = c
			} else {
				bits |= c &^ cMonths
			}
			j++
		}
		if bits&^cWide != 0 || bits&cWide != 0 && hasSign(text[i:j]) {
			if next := s.chunk(i, j, bits); next > j {
				j = next
			}
		}
		i = j
	}
}

// wideEnd is the length of the character at i if it ends a chunk: typographic
// quotes, wide spaces, CJK punctuation; else 0.
func (s *scanner) wideEnd(i int) int {
	t := s.text[i:]
	if len(t) >= 2 && t[0] == 0xC2 && (t[1] == 0xA0 || t[1] == 0xAB || t[1] == 0xBB) {
		return 2
	}
	if len(t) < 3 {
		return 0
	}
	switch {
	case t[0] == 0xE2 && t[1] == 0x80:
		if c := t[2]; c >= 0x80 && c <= 0x8A || c >= 0x93 && c <= 0xA9 && c != 0xA7 || c == 0xAF {
			return 3
		}
	case t[0] == 0xE3 && t[1] == 0x80:
		if t[2] <= 0x9F {
			return 3
		}
	case t[0] == 0xEF && t[1] == 0xBC && (t[2] == 0x8C || t[2] == 0x9A || t[2] == 0x9B || t[2] == 0x88 || t[2] == 0x89):
		return 3 // fullwidth comma, colon, semicolon, parentheses
	}
	return 0
}

// quotes pairs what opens with what closes.
var quotes = [5]struct{ open, close string }{{`"`, `"`}, {"'", "'"}, {"“", "”"}, {"‘", "’"}, {"`", "`"}}

// quote adds the quoted string that opens at i, if one does.
func (s *scanner) quote(i int) {
	text := s.text
	for q, pair := range quotes {
		if !strings.HasPrefix(text[i:], pair.open) {
			continue
		}
		from := i + len(pair.open)
		if i < s.shut[q] || from >= len(text) || class[text[from]]&cEnd != 0 && text[from] <= ' ' {
			return
		}
		if pair.open == "'" && i > 0 && wordByte(text[i-1]) {
			return // an apostrophe
		}
		to := min(len(text), from+maxQuoted+len(pair.close))
		k := max(from, s.noClose[q])
		for k < to {
			n := strings.Index(text[k:to], pair.close)
			if n < 0 {
				s.noClose[q] = max(s.noClose[q], to-len(pair.close)+1)
				return
			}
			end := k + n
			after := end + len(pair.close)
			if text[end-1] > ' ' && (after == len(text) || !wordByte(text[after])) || pair.open != "'" && pair.open != "‘" {
				if end > from && utf8.ValidString(text[from:end]) {
					s.add(FreeText, from, end)
				}
				s.shut[q] = after
				return
			}
			k = after
			s.noClose[q] = max(s.noClose[q], k)
		}
		return
	}
}

func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c >= 0x80
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func digit(c byte) bool  { return c >= '0' && c <= '9' }

// hasSign reports a currency sign or a digit-like letter beyond ASCII.
func hasSign(t string) bool {
	return strings.Contains(t, "€") || strings.Contains(t, "£") || strings.Contains(t, "¥")
}

// chunk adds the values of text[i:j], a run without spaces. It returns where
// to go on: beyond j if a value goes on there ("May 24th, 2026").
func (s *scanner) chunk(i, j int, bits uint8) int {
	text := s.text
	if bits&cAt != 0 && s.emails(i, j) {
		return j
	}
	if j-i > maxChunk {
		// A link is one however much data it carries.
		if k := strings.Index(text[i:j], "://"); k > 0 {
			at := i + k
			for at > i && (letter(text[at-1]) || digit(text[at-1]) || text[at-1] == '+') {
				at--
			}
			s.add(URL, at, trimEnd(text, at, j))
		}
		return j
	}
	// Punctuation around the value.
	for i < j && strings.IndexByte("'*_,;:!?.=&", text[i]) >= 0 && !(text[i] == '.' && i+1 < j && (text[i+1] == '/' || text[i+1] == '.')) {
		i++
	}
	end := trimEnd(text, i, j)
	if i >= end {
		return j
	}
	t := text[i:end]
	if bits&cSlash != 0 {
		if k := strings.Index(t, "://"); k > 0 && k < 32 {
			at := k
			for at > 0 && (letter(t[at-1]) || digit(t[at-1]) || t[at-1] == '+') {
				at--
			}
			if at < k && k+3 < len(t) {
				s.add(URL, i+at, end)
			}
			return j
		}
	}
	// Lists without spaces are looked at one by one.
	if k := strings.IndexAny(t, ",;="); k > 0 && !numeric(t) {
		s.chunk(i, i+k, bits)
		return s.chunk(i+k+1, j, bits)
	}
	if bits&cDot != 0 {
		if rest, ok := strings.CutPrefix(t, "//"); ok && (dotted(rest) == URL || dotted(rest) == Host) {
			s.add(URL, i, end) // of the same scheme as the page it stands on
			return j
		}
		switch kind := dotted(t); kind {
		case "":
		case URL:
			s.add(URL, i, end)
			return j
		default:
			s.add(kind, i, end)
			return j
		}
	}
	if bits&cSlash != 0 && pathLike(t) {
		s.add(Path, i, end)
		return j
	}
	return s.number(i, end, j, bits)
}

// trimEnd takes the punctuation of the sentence off the end of a chunk.
func trimEnd(text string, i, j int) int {
	for j > i {
		c := text[j-1]
		if strings.IndexByte(".,;:!?'*_", c) < 0 {
			if j-2 > i && text[j-2] == '\'' && c == 's' { // the file.txt's owner
				j -= 2
				continue
			}
			break
		}
		j--
	}
	return j
}

// emails adds every address of a chunk.
func (s *scanner) emails(i, j int) (found bool) {
	text := s.text
	for at := i; at < j; at++ {
		if text[at] != '@' {
			continue
		}
		a, b := at, at+1
		for a > i && localByte(text[a-1]) {
			a--
		}
		for a < at && strings.IndexByte(".-'", text[a]) >= 0 {
			a++
		}
		for b < j && (letter(text[b]) || digit(text[b]) || text[b] == '.' || text[b] == '-' || text[b] >= 0x80) {
			b++
		}
		for b > at && strings.IndexByte(".-", text[b-1]) >= 0 {
			b--
		}
		if a == at || strings.IndexByte(text[at+1:b], '.') < 1 {
			continue
		}
		if strings.Contains(text[i:a], "://") {
			continue // the user of a URL
		}
		s.add(Email, a, b)
		found, i, at = true, b, b-1
	}
	return found
}

func localByte(c byte) bool {
	return letter(c) || digit(c) || c >= 0x80 || strings.IndexByte(".!#$%&*+-/?^_~'", c) >= 0 && c != '/' && c != '&' && c != '?'
}

// numeric reports a number with separators, so that its commas stay.
func numeric(t string) bool {
	for i := 0; i < len(t); i++ {
		if letter(t[i]) || t[i] == ';' || t[i] == '=' {
			return false
		}
	}
	return true
}

// dotted tells a URL, a host and a file name apart, by the first label that
// is a top-level domain and the last that is a file's ending.
func dotted(t string) ValueKind {
	low := strings.ToLower(t)
	if strings.HasPrefix(low, "www.") && len(low) > 6 {
		return URL
	}
	host, rest, slash := strings.Cut(t, "/")
	if slash && host != "" && host != "." && host != ".." && host != "~" {
		bare, _, _ := strings.Cut(host, ":")
		if hostLike(bare) && (tld(bare) || rest != "" && (ipv4(bare) || registered(bare))) {
			return URL
		}
	}
	if pathLike(t) {
		return Path
	}
	if slash {
		return ""
	}
	if q := strings.IndexAny(t, "?#"); q > 0 {
		if hostLike(t[:q]) && (tld(t[:q]) || registered(t[:q])) {
			return URL
		}
		return ""
	}
	bare, port, _ := strings.Cut(t, ":")
	if hostLike(bare) && tld(bare) && numeric(port) {
		return Host
	}
	if ipv4(bare) && numeric(port) {
		return Host
	}
	return ""
}

func hostLike(t string) bool {
	if len(t) < 4 || len(t) > 253 || !wordByte(t[0]) {
		return false
	}
	for i := 0; i < len(t); i++ {
		if !letter(t[i]) && !digit(t[i]) && t[i] != '.' && t[i] != '-' && t[i] < 0x80 {
			return false
		}
		if t[i] == '.' && (i == 0 || i == len(t)-1 || t[i-1] == '.') {
			return false
		}
	}
	return strings.IndexByte(t, '.') > 0
}

func ipv4(t string) bool {
	n := 0
	for part := range strings.SplitSeq(t, ".") {
		n++
		if len(part) == 0 || len(part) > 3 || !allDigits(part) {
			return false
		}
	}
	return n == 4
}

func allDigits(t string) bool {
	for i := 0; i < len(t); i++ {
		if !digit(t[i]) {
			return false
		}
	}
	return t != ""
}

// tld reports whether a host ends in a well-known top-level domain. Where
// that is an English word, it must be in lower case and the whole host too:
// "today.In" is a sentence without its space.
func tld(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	low := strings.ToLower(last)
	switch tlds[low] {
	case 1:
		return true
	case 2:
		return last == low && (low != "so" && low != "to" && low != "at" && low != "is" && low != "in" && low != "it" && low != "no" && low != "be" && low != "my" && low != "us" || strings.ToLower(host) == host)
	}
	return false
}

// registered reports whether a host ends in any top-level domain that there
// is. Many of them are words and file endings, so it counts only where a path
// or a query makes a link of the host, all in lower case.
func registered(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if endings[last] || strings.ToLower(host) != host {
		return false
	}
	_, icann := publicsuffix.PublicSuffix(host)
	return icann
}

var tlds = func() map[string]int {
	m := map[string]int{}
	for _, t := range strings.Fields(`com org net edu gov mil int info biz name pro io dev app ai co ly gl tv cc ws xyz online site
		shop store blog cloud tech club live news page link click top icu work space website email chat
		example test invalid localhost local internal
		uk de fr es pt nl ch se dk fi pl cz sk hu ro bg gr ie lu lt lv ee si hr rs ua ru by tr il ae sa eg za ng ke jp kr cn hk tw sg th vn ph id
		au nz ca mx br ar cl pe ve eu li mt cy`) {
		m[t] = 1
	}
	for _, t := range strings.Fields("in it is to at so me us be no my am as an do") {
		m[t] = 2
	}
	return m
}()

var endings = func() map[string]bool {
	m := map[string]bool{}
	for _, t := range strings.Fields(`txt md rst doc docx odt rtf pdf xls xlsx ods csv tsv ppt pptx odp key pages numbers json yaml yml toml xml
		html htm css scss js mjs ts jsx tsx py ipynb go rs java kt c h cc cpp hpp cs rb php pl lua swift scala sh bash zsh bat cmd ps1 sql db sqlite
		log cfg conf ini env lock mod sum tar gz tgz bz2 xz zip rar 7z iso exe dll so dmg deb rpm apk jar war whl bin dat bak tmp
		png jpg jpeg gif bmp svg webp ico tif tiff heic mp3 wav flac ogg m4a mp4 mov avi mkv webm eml msg ics vcf pem crt cer p12 pub asc sig
		tex bib epub mobi parquet proto tf tfvars dockerfile patch diff out`) {
		m[t] = true
	}
	return m
}()

// pathLike reports a file name with a well-known ending, or a path.
func pathLike(t string) bool {
	if strings.HasPrefix(t, "//") {
		return false
	}
	rooted := strings.HasPrefix(t, "/") || strings.HasPrefix(t, "./") || strings.HasPrefix(t, "../") || strings.HasPrefix(t, "~/")
	if rooted && len(t) > 1 {
		for i := 1; i < len(t); i++ {
			if letter(t[i]) || t[i] >= 0x80 {
				return true
			}
		}
		return false
	}
	base := t[strings.LastIndexByte(t, '/')+1:]
	dot := strings.LastIndexByte(base, '.')
	if dot < 0 || dot == len(base)-1 {
		return false
	}
	if dot == 0 {
		return len(base) > 3 && letter(base[1]) && endings[strings.ToLower(base[1:])] // .env
	}
	for i := 0; i < len(t); i++ {
		if strings.IndexByte("?*:@,;=%", t[i]) >= 0 {
			return false
		}
	}
	ending := base[dot+1:]
	low := strings.ToLower(ending)
	if !endings[low] {
		return false
	}
	// "so" and the one-letter endings are also the start of a sentence.
	return len(low) > 1 && low != "so" && low != "out" && low != "key" && low != "pages" && low != "numbers" || ending == low && !letterAfterCapital(base)
}

// letterAfterCapital reports a name that starts like a sentence's word, and
// so is rather two sentences without a space.
func letterAfterCapital(t string) bool { return t[0] >= 'A' && t[0] <= 'Z' }

// number adds what digits and months make: accounts, amounts, dates.
// text[i:end] is the chunk without its punctuation, j the end of it.
func (s *scanner) number(i, end, j int, bits uint8) int {
	text := s.text
	t := text[i:end]
	if bits&(cDigit|cMoney|cMonths) == 0 && !hasSign(t) {
		return j
	}
	if bits&cMonths != 0 && bits&cDigit == 0 {
		if month(t) > 0 {
			if e, ok := dateAfterMonth(text, end); ok {
				s.add(Date, i, e)
				return e
			}
			return j
		}
		if len(t) == 3 && currency(t) && end < len(text) && text[end] == ' ' {
			if e := numberEnd(text, end+1); e > end+1 {
				s.add(Amount, i, e)
				return e
			}
		}
		return j
	}
	// Amounts with a sign in front or behind.
	for _, sign := range signs {
		if n, ok := strings.CutPrefix(t, sign); ok && n != "" && numberEnd(n, 0) == len(n) {
			s.add(Amount, i, end)
			return j
		}
		if t == sign && end < len(text) && text[end] == ' ' {
			if e := numberEnd(text, end+1); e > end+1 {
				s.add(Amount, i, e)
				return e
			}
		}
		if n, ok := strings.CutSuffix(t, sign); ok && n != "" && numberEnd(n, 0) == len(n) {
			s.add(Amount, i, end)
			return j
		}
	}
	if isoDate(t) {
		s.add(Date, i, i+10)
		return j
	}
	if slashDate(t) {
		s.add(Date, i, end)
		return j
	}
	// An IBAN, in one piece or in groups of four.
	if len(t) >= 4 && upper(t[0]) && upper(t[1]) && digit(t[2]) && digit(t[3]) {
		if len(t) >= 12 && len(t) <= 34 && mostlyDigits(t) {
			s.add(Account, i, end)
			return j
		}
		if len(t) == 4 && end == j {
			if e := groups(text, end); e > end && validIBAN(text[i:e]) {
				s.add(Account, i, e)
				return e
			}
		}
	}
	digits := strings.TrimPrefix(t, "+")
	if allDigits(digits) {
		switch {
		case len(digits) >= 8 && len(digits) <= 34:
			s.add(Account, i, end)
			return j
		case len(digits) == 4 && end == j:
			if e := groups(text, end); e-i >= 18 && luhn(text[i:e]) {
				s.add(Account, i, e)
				return e
			}
		}
	}
	if n := strings.Count(t, "-"); n >= 2 && countDigits(t) >= 12 && countDigits(t)+n == len(t) {
		s.add(Account, i, end)
		return j
	}
	// "24 May 2026", "24th of May", "100 dollars".
	if e := i + numberEnd(t, 0); e > i && (e == end || ordinal(text[e:end])) && end < len(text) && text[end] == ' ' {
		w := wordEnd(text, end+1)
		word := text[end+1 : w]
		if (word == "of" || word == "Of") && w < len(text) && text[w] == ' ' {
			w2 := wordEnd(text, w+1)
			if month(text[w+1:w2]) > 0 {
				word, w = text[w+1:w2], w2
			}
		}
		if month(word) > 0 && len(t) <= 4 {
			e := w
			if y := yearAfter(text, w); y > w {
				e = y
			}
			s.add(Date, i, e)
			return e
		}
		if e == end && (currency(word) || currencyWord(word)) {
			s.add(Amount, i, w)
			return w
		}
	}
	if money(t) {
		s.add(Amount, i, end)
	}
	return j
}

var signs = []string{"$", "€", "£", "¥", "US$", "A$", "C$", "EUR", "USD", "GBP", "CHF", "eur", "usd", "gbp", "chf"}

func currency(t string) bool {
	switch strings.ToUpper(t) {
	case "USD", "EUR", "GBP", "CHF", "JPY", "CNY", "AUD", "CAD", "NZD", "SEK", "NOK", "DKK", "PLN", "CZK", "INR", "BRL", "MXN", "ZAR", "SGD", "HKD", "BTC", "ETH", "USDC", "USDT":
		return true
	}
	return t == "€" || t == "£" || t == "$" || t == "¥"
}

func currencyWord(t string) bool {
	switch strings.ToLower(t) {
	case "dollar", "dollars", "euro", "euros", "pound", "pounds", "francs", "yen", "bucks", "cents", "quid", "rupees", "bitcoin", "ether":
		return true
	}
	return false
}

// money reports a number with exactly two decimals: "12.50", "1,200.00".
func money(t string) bool {
	n := len(t)
	return n >= 4 && t[n-3] == '.' && digit(t[n-1]) && digit(t[n-2]) && digit(t[0]) && numberEnd(t, 0) == n
}

// numberEnd is the end of the number with separators that starts at i, or i.
func numberEnd(t string, i int) int {
	j := i
	for j < len(t) && j-i < 32 && (digit(t[j]) || (t[j] == '.' || t[j] == ',') && j > i && j+1 < len(t) && digit(t[j+1])) {
		j++
	}
	return j
}

func wordEnd(t string, i int) int {
	j := i
	for j < len(t) && j-i < 16 && (letter(t[j]) || t[j] >= 0x80 || t[j] == '$') {
		j++
	}
	return j
}

func upper(c byte) bool { return c >= 'A' && c <= 'Z' }

func countDigits(t string) (n int) {
	for i := 0; i < len(t); i++ {
		if digit(t[i]) {
			n++
		}
	}
	return n
}

func mostlyDigits(t string) bool {
	for i := 0; i < len(t); i++ {
		if !digit(t[i]) && !letter(t[i]) {
			return false
		}
	}
	return countDigits(t)*10 >= len(t)*6
}

// groups is the end of the groups of up to four characters, each after one
// space, that start at i.
func groups(t string, i int) int {
	end := i
	for range 8 {
		if end >= len(t) || t[end] != ' ' {
			break
		}
		k := end + 1
		for k < len(t) && k-end <= 4 && (digit(t[k]) || upper(t[k])) {
			k++
		}
		if k == end+1 || k < len(t) && wordByte(t[k]) {
			break
		}
		short := k-end-1 < 4
		end = k
		if short {
			break
		}
	}
	return end
}

// validIBAN checks the check digits (ISO 13616, MOD 97-10).
func validIBAN(t string) bool {
	t = strings.ReplaceAll(t, " ", "")
	if len(t) < 15 || len(t) > 34 {
		return false
	}
	rest := 0
	for i := range len(t) {
		c := t[(i+4)%len(t)]
		switch {
		case digit(c):
			rest = (rest*10 + int(c-'0')) % 97
		case upper(c):
			rest = (rest*100 + int(c-'A') + 10) % 97
		default:
			return false
		}
	}
	return rest == 1
}

// luhn checks the check digit of a card number (ISO/IEC 7812).
func luhn(t string) bool {
	sum, n := 0, 0
	for i := len(t) - 1; i >= 0; i-- {
		if !digit(t[i]) {
			continue
		}
		d := int(t[i] - '0')
		if n%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
		n++
	}
	return n >= 12 && sum%10 == 0
}

func isoDate(t string) bool {
	return len(t) >= 10 && t[4] == '-' && t[7] == '-' && allDigits(t[:4]) && allDigits(t[5:7]) && allDigits(t[8:10]) && (len(t) == 10 || !wordByte(t[10]) || t[10] == 'T')
}

// slashDate reports 5/24/2026, 24/05/26 and 24.05.2026.
func slashDate(t string) bool {
	for _, sep := range []string{"/", "."} {
		a, rest, ok := strings.Cut(t, sep)
		b, c, ok2 := strings.Cut(rest, sep)
		if ok && ok2 && len(a) <= 2 && len(b) <= 2 && (len(c) == 4 || len(c) == 2 && sep == "/") && allDigits(a) && allDigits(b) && allDigits(c) {
			return true
		}
	}
	return false
}

func month(t string) int {
	if len(t) < 3 || len(t) > 9 {
		return 0
	}
	t = strings.ToLower(t)
	for i, m := range months {
		if t == m || t == m[:3] || t == "sept" && i == 8 {
			return i + 1
		}
	}
	return 0
}

var months = [...]string{"january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"}

func ordinal(t string) bool { return t == "st" || t == "nd" || t == "rd" || t == "th" }

// dateAfterMonth is the end of " 24th, 2026" after a month.
func dateAfterMonth(t string, i int) (int, bool) {
	if i < len(t) && t[i] == '.' {
		i++
	}
	if i >= len(t) || t[i] != ' ' {
		return i, false
	}
	k := i + 1
	for k < len(t) && k-i <= 2 && digit(t[k]) {
		k++
	}
	if k == i+1 || k < len(t) && (digit(t[k]) || t[k] == ':') {
		return i, false
	}
	if k+2 <= len(t) && ordinal(t[k:k+2]) {
		k += 2
	}
	if k < len(t) && wordByte(t[k]) {
		return i, false
	}
	if y := yearAfter(t, k); y > k {
		return y, true
	}
	return k, true
}

// yearAfter is the end of ", 2026" or " 2026" at i, or i.
func yearAfter(t string, i int) int {
	k := i
	if k < len(t) && t[k] == ',' {
		k++
	}
	if k+5 <= len(t) && t[k] == ' ' && allDigits(t[k+1:k+5]) && (t[k+1] == '1' || t[k+1] == '2') && (k+5 == len(t) || !wordByte(t[k+5])) {
		return k + 5
	}
	return i
}
