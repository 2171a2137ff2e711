package identity

import (
	"crypto/sha256"
	"crypto/x509"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// TaskTokenType is the typ of task tokens (draft-ietf-oauth-transaction-tokens).
const TaskTokenType = "txntoken+jwt"

// TaskToken is what a task token says. It carries no authority: the gateway
// looks the task up.
type TaskToken struct {
	Task          sallyport.ID
	MandateDigest sallyport.Digest
	// Chain is the user, the agent, and each sub-agent.
	Chain []sallyport.Principal
	// Binding says what the holder must prove besides the token. There is no
	// default.
	Binding Binding
	// Holder is, for BindingDPoP, the RFC 7638 thumbprint of the key that must
	// be proved. For the other bindings it follows from Certificate or Client
	// and may be left empty.
	Holder string
	// Certificate is, for BindingMTLS, the certificate's CertificateThumbprint.
	Certificate string
	// Client is the id of the OAuth client that the token is given to. A token
	// of BindingNone must have one.
	Client string
	// Audience is the resource the token is for (RFC 8707), URL()+"/mcp" if
	// empty. It covers what lies below it.
	Audience string
	// Expires is the task's end; the token lasts at most MaxTaskTokenTTL, or
	// MaxBearerTTL with BindingNone.
	Expires time.Time
}

// HolderOfSVID is the holder of a task that an X.509-SVID was shown for. The
// certificate may be renewed; its SPIFFE ID stays.
func HolderOfSVID(spiffeID string) string { return "svid:" + spiffeID }

// HolderOfClient is the holder of a task whose token is bound to nothing but
// the OAuth client it was given to.
func HolderOfClient(clientID string) string { return "bearer:" + sum([]byte(clientID)) }

// CertificateThumbprint is the x5t#S256 of a certificate (RFC 8705 section
// 3.1).
func CertificateThumbprint(c *x509.Certificate) string {
	h := sha256.Sum256(c.Raw)
	return b64.EncodeToString(h[:])
}

// bound checks the holder against the binding, and returns the cnf claim;
// null for none.
func (t TaskToken) bound() (canon.Value, bool) {
	switch t.Binding {
	case BindingDPoP:
		return canon.ObjectValue(member("jkt", t.Holder)), isHash(t.Holder) && t.Certificate == ""
	case BindingMTLS:
		return canon.ObjectValue(member("x5t#S256", t.Certificate)), isHash(t.Certificate) && (t.Holder == "" || strings.HasPrefix(t.Holder, HolderOfSVID("spiffe://")))
	case BindingNone:
		return canon.Value{}, t.Client != "" && t.Certificate == "" && (t.Holder == "" || t.Holder == HolderOfClient(t.Client))
	}
	return canon.Value{}, false
}

// isHash reports whether s is a SHA-256 in base64url.
func isHash(s string) bool {
	b, ok := decodeB64(s)
	return ok && len(b) == sha256.Size
}

// MintTaskToken makes a task token. The agents stand in nested act claims
// (RFC 8693 section 4.1), the one that acts outermost.
func (i *Issuer) MintTaskToken(t TaskToken, now time.Time) (string, error) {
	most := MaxTaskTokenTTL
	if t.Binding != BindingDPoP && t.Binding != BindingMTLS {
		most = MaxBearerTTL
	}
	exp := now.Add(most)
	if t.Expires.Before(exp) {
		exp = t.Expires
	}
	cnf, ok := t.bound()
	if _, err := sallyport.ParseID(sallyport.TaskID, string(t.Task)); err != nil || t.MandateDigest.IsZero() || !ok || !validChain(t.Chain) || len(t.Client) > maxURLBytes {
		return "", sallyport.Errorf(sallyport.EInvalid, "bad_task_token", "a task token names a task, its mandate, what it is bound to, a user and at least one agent")
	}
	if t.Audience == "" {
		t.Audience = i.resources()
	}
	if !covers(i.resources(), t.Audience) {
		return "", sallyport.Errorf(sallyport.EInvalid, "bad_resource", "a task token is for a resource of %s", i.resources())
	}
	if exp.Unix() <= now.Unix() {
		return "", sallyport.Errorf(sallyport.EForbidden, "task_expired", "the task has ended")
	}
	act := canon.ObjectValue(member("sub", t.Chain[1].ID))
	for _, p := range t.Chain[2:] {
		act = canon.ObjectValue(member("sub", p.ID), canon.Member{Name: "act", Value: act})
	}
	claims := []canon.Member{
		member("iss", i.URL()), member("aud", t.Audience), date("iat", now), date("exp", exp), member("jti", newJTI()),
		member("sub", t.Chain[0].ID), {Name: "act", Value: act},
		member("txn", string(t.Task)), member("task_digest", t.MandateDigest.String()), member("scope", "task"),
	}
	if !cnf.IsNull() {
		claims = append(claims, canon.Member{Name: "cnf", Value: cnf})
	}
	if t.Client != "" {
		claims = append(claims, member("client_id", t.Client))
	}
	s, err := i.mint(TaskTokenType, claims...)
	if err == nil && len(s) > MaxTokenBytes {
		return "", sallyport.Errorf(sallyport.EExhausted, "task_token_large", "the chain's names do not fit into a token")
	}
	return s, err
}

// resources is the resource of all servers; that of each lies below it.
func (i *Issuer) resources() string { return i.URL() + "/mcp" }

// validChain reports whether the chain is a user followed by agents.
func validChain(chain []sallyport.Principal) bool {
	if len(chain) < 2 || len(chain) > maxChain {
		return false
	}
	for n, p := range chain {
		want := sallyport.AgentKind
		if n == 0 {
			want = sallyport.UserKind
		}
		if p.Kind != want || p.ID == "" || len(p.ID) > maxPrincipal {
			return false
		}
	}
	return true
}

// Inspected is a task token whose signature and times were checked. Nobody
// proved to hold it: it may be described or revoked, and opens nothing.
type Inspected struct {
	TaskToken
	ID     string // jti
	Issued time.Time
}

// Inspect reads a task token for introspection (RFC 7662) and revocation (RFC
// 7009). Its Holder is empty where a certificate would say who holds it.
func (i *Issuer) Inspect(token string, now time.Time) (Inspected, error) {
	c, err := i.checkTaskToken(token, now)
	if err != nil {
		return Inspected{}, err
	}
	return Inspected{
		TaskToken: TaskToken{
			Task: c.who.task, MandateDigest: c.who.digest, Chain: c.who.chain, Binding: c.who.binding, Holder: c.who.holder,
			Certificate: c.certificate, Client: c.client, Audience: c.who.audience, Expires: c.who.expires,
		},
		ID: c.who.tokenID, Issued: c.issued,
	}, nil
}

// checked is a token of the issuer's own whose signature and claims were
// checked, before possession was.
type checked struct {
	who         Verified
	certificate string // x5t#S256, for BindingMTLS
	client      string
	kid         string
	issued      time.Time
}

// own reads a token that the issuer signed: form, type, key, issuer, times.
// what names the token in texts.
func (i *Issuer) own(token, typ, what string, most time.Duration, now time.Time) (jws, checked, error) {
	t, ok := parseJWS(token, MaxTokenBytes, "alg", "kid", "typ")
	if !ok {
		return jws{}, checked{}, unauthenticated("token_malformed", "the %s is not a JWT of the expected form", what)
	}
	if ClaimText(t.header, "typ") != typ {
		return jws{}, checked{}, unauthenticated("token_type", "the token is not a %s", what)
	}
	kid := ClaimText(t.header, "kid")
	key, ok := i.public(kid)
	if !ok {
		return jws{}, checked{}, unauthenticated("token_key", "the token is signed with a key that %s does not have", i.Name())
	}
	if ClaimText(t.header, "alg") != key.public.alg() {
		return jws{}, checked{}, unauthenticated("token_alg", "the token is not signed with %s", key.public.alg())
	}
	if !key.public.verify(t) {
		return jws{}, checked{}, unauthenticated("token_signature", "the token's signature does not verify")
	}
	if iss := i.URL(); ClaimText(t.claims, "iss") != iss {
		return jws{}, checked{}, unauthenticated("token_issuer", "the token is not from %s", iss)
	}
	iat, exp, err := checkTimes(t.claims, most, now)
	if err != nil {
		return jws{}, checked{}, err
	}
	if !key.retired.IsZero() && iat.After(key.retired) {
		// A retired key may lie in a backup: it counts for what it signed then.
		return jws{}, checked{}, unauthenticated("token_key", "the token is signed with a key that had retired")
	}
	return t, checked{kid: kid, issued: iat, who: Verified{expires: exp}}, nil
}

// checkTaskToken verifies what MintTaskToken made.
func (i *Issuer) checkTaskToken(token string, now time.Time) (checked, error) {
	t, c, err := i.own(token, TaskTokenType, "task token", MaxTaskTokenTTL, now)
	if err != nil {
		return checked{}, err
	}
	aud := ClaimText(t.claims, "aud")
	if !covers(i.resources(), aud) {
		return checked{}, unauthenticated("token_audience", "the token is not for a resource of %s", i.resources())
	}
	who, ok := claimed(t.claims, &c)
	if !ok || who.binding == BindingNone && c.who.expires.Sub(c.issued) > MaxBearerTTL {
		return checked{}, unauthenticated("token_claims", "the task token lacks a claim, or has one of another form")
	}
	who.expires, who.audience = c.who.expires, aud
	c.who = who
	return c, nil
}

func checkTimes(claims canon.Value, most time.Duration, now time.Time) (iat, exp time.Time, err error) {
	iat, ok := NumericDate(claims, "iat")
	exp, ok2 := NumericDate(claims, "exp")
	nbf, hasNBF := claims.Get("nbf")
	from, ok3 := iat, true
	if hasNBF && !nbf.IsNull() {
		from, ok3 = NumericDate(claims, "nbf")
	}
	switch {
	case !ok || !ok2 || !ok3 || exp.Sub(iat) > most:
		return iat, exp, unauthenticated("token_claims", "the token's times are missing, or too far apart")
	case iat.After(now.Add(Skew)) || from.After(now.Add(Skew)):
		return iat, exp, unauthenticated("token_not_yet_valid", "the token is not valid yet")
	case !now.Before(exp):
		return iat, exp, unauthenticated("token_expired", "the token has expired")
	}
	return iat, exp, nil
}

// claimed reads who and what the token is for, all but times and audience.
func claimed(claims canon.Value, c *checked) (Verified, bool) {
	for _, m := range claims.Members() {
		switch m.Name {
		case "iss", "aud", "iat", "exp", "nbf", "jti", "sub", "act", "txn", "task_digest", "cnf", "scope", "client_id":
		default:
			return Verified{}, false
		}
	}
	task, err := sallyport.ParseID(sallyport.TaskID, ClaimText(claims, "txn"))
	digest, err2 := sallyport.ParseDigest(ClaimText(claims, "task_digest"))
	who := Verified{task: task, digest: digest, tokenID: ClaimText(claims, "jti")}
	if err != nil || string(task) != ClaimText(claims, "txn") || err2 != nil || digest.IsZero() || who.tokenID == "" || ClaimText(claims, "scope") != "task" {
		return Verified{}, false
	}
	c.client = ClaimText(claims, "client_id")
	if !confirmed(claims, &who, c) {
		return Verified{}, false
	}
	// The actor stands outermost, who it acts for within.
	var agents []sallyport.Principal
	act, ok := claims.Get("act")
	for ok && len(agents) < maxChain {
		agents = append(agents, sallyport.Principal{Kind: sallyport.AgentKind, ID: ClaimText(act, "sub")})
		act, ok = act.Get("act")
	}
	who.chain = append(who.chain, sallyport.Principal{Kind: sallyport.UserKind, ID: ClaimText(claims, "sub")})
	for n := len(agents) - 1; n >= 0; n-- {
		who.chain = append(who.chain, agents[n])
	}
	return who, validChain(who.chain)
}

// confirmed reads what the token is bound to (RFC 7800). A cnf that is there
// and says something else is never taken for none.
func confirmed(claims canon.Value, who *Verified, c *checked) bool {
	cnf, has := claims.Get("cnf")
	if !has {
		who.binding, who.holder = BindingNone, HolderOfClient(c.client)
		return c.client != ""
	}
	if cnf.Kind() != canon.Object || len(cnf.Members()) != 1 {
		return false
	}
	if jkt := ClaimText(cnf, "jkt"); jkt != "" {
		who.binding, who.holder = BindingDPoP, jkt
		return isHash(jkt)
	}
	who.binding, c.certificate = BindingMTLS, ClaimText(cnf, "x5t#S256")
	return isHash(c.certificate)
}
