package login

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
)

// ceremony is a passkey prompt that is open in a browser.
type ceremony struct {
	Session webauthn.SessionData `json:"s"`
	// User and Invite of a registration: for whom, and by what right. Without
	// Invite it is by a fresh session.
	User   string `json:"u,omitempty"`
	Invite string `json:"i,omitempty"`
	Next   string `json:"n"`
}

const (
	signInPurpose   = "passkey-sign-in"
	registerPurpose = "passkey-register"
)

// ask is what the page's script sends. Every member may be missing.
type ask struct {
	Next       string          `json:"next"`
	Invite     string          `json:"invite"`
	Credential json.RawMessage `json:"credential"`
}

// read reads what the page's script sent. Only a page of this origin can: a
// form cannot send JSON, and another origin's script is stopped by Origin.
func (h *Handler) read(w http.ResponseWriter, r *http.Request) (ask, error) {
	var in ask
	if err := h.sameOrigin(r); err != nil {
		return in, err
	}
	bad := refuse(sallyport.EInvalid, "bad_body", "what the page sent cannot be read", "load the page again")
	if t, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); t != "application/json" {
		return in, bad
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil || d.More() {
		return in, bad
	}
	return in, nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the browser went away: nobody is left to tell
}

func writeError(w http.ResponseWriter, err error) {
	e := known(err)
	writeJSON(w, statusOf[e.Kind], map[string]string{"code": e.Code, "text": e.Text, "fix": e.Fix})
}

// deny answers the page's script with an error, and logs it.
func (h *Handler) deny(w http.ResponseWriter, what string, err error) {
	h.c.Log.Warn("login: "+what, "code", sallyport.CodeOf(err), "err", clip(err.Error()))
	writeError(w, err)
}

// open seals a ceremony into the browser and answers with its options.
func (h *Handler) open(w http.ResponseWriter, purpose string, c ceremony, options any) {
	value, err := h.sealer.seal(purpose, c, ceremonyTTL)
	if err != nil {
		h.deny(w, "a passkey prompt cannot be opened", err)
		return
	}
	h.cookies.write(w, passkeyCookie, value, ceremonyTTL)
	writeJSON(w, http.StatusOK, options)
}

// close returns the ceremony that the browser holds, and takes it away.
func (h *Handler) close(w http.ResponseWriter, r *http.Request, purpose string) (c ceremony, in sealed, err error) {
	in, fresh := h.sealer.open(purpose, h.cookies.read(r, passkeyCookie), &c)
	h.cookies.clear(w, passkeyCookie)
	if in.ID == "" || !fresh {
		return c, in, refuse(sallyport.EForbidden, "no_ceremony", "no passkey prompt is open in this browser, or it was open too long", startAgain)
	}
	return c, in, nil
}

var errPasskey = refuse(sallyport.EForbidden, "passkey_refused", "the passkey's answer is not valid here", "try again; if it stays so, use another passkey")

func (h *Handler) passkeyBegin(w http.ResponseWriter, r *http.Request) {
	in, err := h.read(w, r)
	if err != nil {
		h.deny(w, "a passkey sign-in was refused", err)
		return
	}
	options, s, err := h.passkeys.rp.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		h.deny(w, "a passkey sign-in cannot be begun", err)
		return
	}
	h.open(w, signInPurpose, ceremony{Session: *s, Next: localPath(in.Next)}, options)
}

func (h *Handler) passkeyFinish(w http.ResponseWriter, r *http.Request) {
	in, err := h.read(w, r)
	if err == nil {
		var next string
		if next, err = h.passkeySignIn(w, r, in); err == nil {
			writeJSON(w, http.StatusOK, map[string]string{"next": next})
			return
		}
	}
	h.deny(w, "a passkey sign-in was refused", err)
}

func (h *Handler) passkeySignIn(w http.ResponseWriter, r *http.Request, in ask) (string, error) {
	c, open, err := h.close(w, r, signInPurpose)
	if err != nil {
		return "", err
	}
	answer, err := protocol.ParseCredentialRequestResponseBytes(in.Credential)
	if err != nil {
		return "", errPasskey
	}
	_, credential, err := h.passkeys.rp.ValidatePasskeyLogin(h.passkeys.find, c.Session, answer)
	if err != nil {
		h.c.Log.Warn("login: a passkey's answer does not verify", "err", clip(detail(err)))
		if sallyport.CodeOf(err) == "unknown_passkey" {
			return "", err
		}
		return "", errPasskey
	}
	if !h.sealer.spend(open) {
		return "", refuse(sallyport.EForbidden, "login_used", "this sign-in was already completed", startAgain)
	}
	user, err := h.passkeys.use(r.Context(), credential)
	if err != nil {
		return "", err
	}
	return c.Next, h.admit(w, r, identity.LocalPerson(user, "passkey", h.c.Now().Add(h.c.Absolute)))
}

// registrant says for whom a passkey may be registered now: who holds an
// invitation, or has signed in with a passkey just now.
func (h *Handler) registrant(r *http.Request, token string) (user, by string, err error) {
	if token != "" {
		i, ok := h.passkeys.invited(token)
		if !ok {
			return "", "", refuse(sallyport.EForbidden, "bad_invite", "the invitation is not valid: it was used, is older than 15 minutes, or the gateway was restarted", "ask for a new one: sallyport user invite USER")
		}
		if !h.c.Valid(i.user) {
			return "", "", refuse(sallyport.EForbidden, "user_offboarded", "the invited user may not sign in", "ask an operator of this gateway")
		}
		return i.user, i.by, nil
	}
	s, ok := h.session(r)
	switch {
	case !ok:
		return "", "", refuse(sallyport.EUnauthenticated, "signed_out", "you are not signed in", "sign in, then add the passkey")
	case s.person.Issuer() != "":
		return "", "", refuse(sallyport.EForbidden, "not_local", "you sign in at "+s.person.Issuer()+", not with passkeys", "manage your passkeys there")
	case h.c.Now().Sub(s.since) > freshFor:
		return "", "", refuse(sallyport.EForbidden, "not_fresh", "you signed in more than 10 minutes ago", "sign out and in again, then add the passkey")
	}
	return s.person.User().ID, s.person.User().ID, nil
}

func (h *Handler) registerBegin(w http.ResponseWriter, r *http.Request) {
	in, err := h.read(w, r)
	var user string
	if err == nil {
		user, _, err = h.registrant(r, in.Invite)
	}
	if err != nil {
		h.deny(w, "a passkey cannot be registered", err)
		return
	}
	u := h.passkeys.holder(user)
	options, s, err := h.passkeys.rp.BeginRegistration(u, webauthn.WithExclusions(webauthn.Credentials(u.keys).CredentialDescriptors()))
	if err != nil {
		h.deny(w, "a passkey cannot be registered", err)
		return
	}
	h.open(w, registerPurpose, ceremony{Session: *s, User: user, Invite: in.Invite, Next: "/"}, options)
}

func (h *Handler) registerFinish(w http.ResponseWriter, r *http.Request) {
	in, err := h.read(w, r)
	if err == nil {
		var next string
		if next, err = h.register(w, r, in); err == nil {
			writeJSON(w, http.StatusOK, map[string]string{"next": next})
			return
		}
	}
	h.deny(w, "a passkey was not registered", err)
}

func (h *Handler) register(w http.ResponseWriter, r *http.Request, in ask) (string, error) {
	c, open, err := h.close(w, r, registerPurpose)
	if err != nil {
		return "", err
	}
	user, by, err := h.registrant(r, c.Invite)
	if err != nil {
		return "", err
	}
	if user != c.User {
		return "", refuse(sallyport.EForbidden, "no_ceremony", "another user has signed in meanwhile", startAgain)
	}
	answer, err := protocol.ParseCredentialCreationResponseBytes(in.Credential)
	if err != nil {
		return "", errPasskey
	}
	u := h.passkeys.holder(user)
	u.handle = c.Session.UserID // a first passkey's handle was drawn when it began
	credential, err := h.passkeys.rp.CreateCredential(u, c.Session, answer)
	if err != nil {
		h.c.Log.Warn("login: a new passkey does not verify", "err", clip(detail(err)))
		return "", errPasskey
	}
	if !h.sealer.spend(open) || c.Invite != "" && !h.passkeys.redeem(c.Invite) {
		return "", refuse(sallyport.EForbidden, "bad_invite", "the invitation was used meanwhile", "ask for a new one: sallyport user invite USER")
	}
	if err := h.passkeys.add(r.Context(), user, by, u.handle, credential); err != nil {
		return "", err
	}
	return c.Next, h.admit(w, r, identity.LocalPerson(user, "passkey", h.c.Now().Add(h.c.Absolute)))
}

// detail is what the WebAuthn library knows of a failure, for the log.
func detail(err error) string {
	if e, ok := err.(*protocol.Error); ok {
		return e.Type + ": " + e.Details + " " + e.DevInfo
	}
	return err.Error()
}
