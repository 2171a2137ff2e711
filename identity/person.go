package identity

import (
	"context"
	"crypto/subtle"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// IDToken checks the ID token of a login (OpenID Connect Core section
// 3.1.3.7). nonce is the one that the login began with.
func (t *Trust) IDToken(ctx context.Context, issuer, token, nonce string, now time.Time) (Person, error) {
	s := t.providers[issuer]
	if s == nil || !s.p.Login {
		return Person{}, unauthenticated("token_issuer", "people do not sign in at this provider")
	}
	f, err := parseForeign(token, "", "JWT")
	if err != nil {
		return Person{}, err
	}
	client := s.p.Audience[0]
	// A login counts longer than the token that it is shown by.
	if _, err := s.ours(ctx, f, []string{client}, now); err != nil {
		return Person{}, err
	}
	azp, has := f.claims.Get("azp")
	if has && (azp.Kind() != canon.String || azp.Text() != client) || !has && len(f.audience()) > 1 {
		return Person{}, unauthenticated("token_audience", "the token was made for another client")
	}
	if nonce == "" || subtle.ConstantTimeCompare([]byte(ClaimText(f.claims, "nonce")), []byte(nonce)) != 1 {
		return Person{}, unauthenticated("token_nonce", "the token is not the answer to this login")
	}
	if _, has := f.claims.Get("auth_time"); has {
		if at, ok := NumericDate(f.claims, "auth_time"); !ok || at.After(now.Add(ForeignSkew)) {
			return Person{}, unauthenticated("token_claims", "the token's auth_time is no time in the past")
		}
	}
	return s.p.person(f.claims, now.Add(s.p.SessionTTL))
}

// Person checks a subject_token (RFC 8693 section 2.1): an ID token or JWT
// access token (RFC 9068), made for the gateway, of a provider whose tokens
// may stand for people.
// It counts no longer than the token.
func (t *Trust) Person(ctx context.Context, token string, now time.Time) (Person, error) {
	f, err := parseForeign(token, "", "JWT", "at+jwt")
	if err != nil {
		return Person{}, err
	}
	s := t.providers[ClaimText(f.claims, "iss")]
	if s == nil || !s.p.SubjectTokens {
		e := unauthenticated("token_issuer", "tokens of this issuer do not stand for their people")
		e.Fix = "the person signs in (sallyport login); or an operator trusts the issuer with it: for: [login, subject-tokens]"
		return Person{}, e
	}
	until, err := s.ours(ctx, f, s.p.Audience, now)
	if err != nil {
		return Person{}, err
	}
	if sub := ClaimText(f.claims, "sub"); sub == ClaimText(f.claims, "client_id") || sub == ClaimText(f.claims, "azp") {
		// RFC 9068 section 5: the token of a client that acts for itself.
		return Person{}, unauthenticated("token_subject", "the token is about a program, not about a person")
	}
	if end := now.Add(s.p.SessionTTL); until.After(end) {
		until = end
	}
	return s.p.person(f.claims, until)
}

// ours checks issuer, key, audience and times of a provider's token.
func (s *keyset) ours(ctx context.Context, f foreignToken, audience []string, now time.Time) (until time.Time, err error) {
	if ClaimText(f.claims, "iss") != s.p.Issuer {
		return until, unauthenticated("token_issuer", "the token is not from %s", s.p.Issuer)
	}
	if err := s.signed(ctx, f, now); err != nil {
		return until, err
	}
	if !f.isFor(audience) {
		return until, unauthenticated("token_audience", "the token is for another audience")
	}
	_, until, err = f.times(MaxForeignTTL, true, now)
	return until, err
}

// person reads who the claims are about.
func (p Provider) person(claims canon.Value, until time.Time) (Person, error) {
	// OpenID Connect Core section 2: a sub is ASCII. One with control characters
	// would write on the terminals of those who read it.
	sub := ClaimText(claims, "sub")
	if sub == "" || len(sub) > maxPrincipal || strings.ContainsFunc(sub, func(r rune) bool { return r < ' ' || r > '~' }) {
		return Person{}, unauthenticated("token_subject", "the token has no sub, or one that is too long or not in ASCII")
	}
	id, err := p.userID(claims)
	if err != nil {
		return Person{}, err
	}
	groups, err := p.groups(claims)
	if err != nil {
		return Person{}, err
	}
	return Person{
		user: sallyport.Principal{Kind: sallyport.UserKind, ID: id}, issuer: p.Issuer, subject: sub,
		groups: groups, silent: p.silent(claims), method: "oidc", expires: until,
	}, nil
}

// silent reports whether claims lack one of those that list groups.
func (p Provider) silent(claims canon.Value) bool {
	return slices.ContainsFunc(p.Groups, func(g GroupClaim) bool {
		v, ok := claim(claims, g.Claim)
		return !ok || v.IsNull()
	})
}

func (p Provider) userID(claims canon.Value) (string, error) {
	s := ClaimText(claims, p.UserClaim)
	if p.UserClaim == "sub" {
		return p.Issuer + "#" + s, nil // person has checked it
	}
	if !isUserID(s) {
		return "", unauthenticated("token_user", "the token's %s is not a user's id", p.UserClaim)
	}
	name, domain, mail := strings.Cut(s, "@")
	if p.UserClaim == "email" {
		if v, _ := claims.Get("email_verified"); v.Kind() != canon.Bool || !v.Bool() {
			return "", unauthenticated("token_user", "the provider has not verified the mail address")
		}
		mail = mail && name != "" && domain != ""
		if !mail {
			return "", unauthenticated("token_user", "the token's email is not a mail address")
		}
	}
	if mail {
		// Providers differ in how they write an address; two spellings must not
		// be two people.
		s, domain = strings.ToLower(s), strings.ToLower(domain)
	}
	if len(p.Domains) > 0 && (!mail || !slices.Contains(p.Domains, domain)) {
		return "", unauthenticated("token_user", "the provider may not speak for users of this domain")
	}
	return s, nil
}

// isUserID reports whether a claim may be a user's id: printable ASCII, so
// that no two look alike or fold into one; no #, which ids made of issuer and
// sub have; at most one @.
func isUserID(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || c == '#' {
			return false
		}
	}
	return s != "" && len(s) <= maxJTIBytes && strings.Count(s, "@") <= 1
}

// groups maps the claims to Cedar groups, sorted. A list that is too long to
// be in the token is an error: a rule may forbid what a group does.
func (p Provider) groups(claims canon.Value) ([]string, error) {
	var out []string
	elsewhere, _ := claims.Get("_claim_names")
	for _, g := range p.Groups {
		if _, distributed := elsewhere.Get(g.Claim); distributed {
			return nil, unauthenticated("token_groups", "the provider left %s out of the token: configure fewer groups there", g.Claim)
		}
		list, _ := claim(claims, g.Claim)
		names, ok := texts(list)
		if !ok && !list.IsNull() {
			return nil, unauthenticated("token_groups", "the claim %s is neither a name of a group nor a list of them", g.Claim)
		}
		for _, v := range names {
			name := v
			if g.Map != nil {
				if name = g.Map[v]; name == "" {
					continue
				}
			}
			if name == "" || len(name) > maxGroupBytes || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				return nil, unauthenticated("token_groups", "the claim %s has a value that is no name of a group", g.Claim)
			}
			out = append(out, g.Prefix+name)
		}
	}
	slices.Sort(out)
	if out = slices.Compact(out); len(out) > maxGroups {
		return nil, unauthenticated("token_groups", "the user is in more than %d groups", maxGroups)
	}
	return out, nil
}

// claim finds a claim by its name; else by names joined by dots, the first of
// which may have dots itself (kubernetes.io.namespace).
func claim(claims canon.Value, name string) (canon.Value, bool) {
	if v, ok := claims.Get(name); ok {
		return v, true
	}
	for n, c := range name {
		if c != '.' {
			continue
		}
		if v, has := claims.Get(name[:n]); has {
			return claim(v, name[n+1:])
		}
	}
	return canon.Value{}, false
}

// texts returns a text, or the texts of a list; ok says that it is nothing
// else.
func texts(v canon.Value) (_ []string, ok bool) {
	if v.Kind() == canon.String {
		return []string{v.Text()}, true
	}
	out := []string{}
	for _, e := range v.Elems() {
		if e.Kind() != canon.String {
			return nil, false
		}
		out = append(out, e.Text())
	}
	return out, v.Kind() == canon.Array
}
