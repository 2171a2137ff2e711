package login

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/sallyport-dev/sallyport"
)

// Task is a running task as the home page shows it.
type Task struct {
	ID, Agent, Template string
	Ends                time.Time
}

// choose offers the ways to sign in. With a single provider there is nothing
// to choose, unless the browser was sent here to stay: after signing out, or
// after a refusal.
func (h *Handler) choose(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	next, fresh := localPath(q.Get("next")), q.Get("fresh") != ""
	w.Header().Set("Cache-Control", "no-store")
	if _, ok := h.Session(r); ok && !fresh {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	if len(h.providers) == 1 && h.passkeys == nil && q.Get("stay") == "" {
		again := r.Clone(r.Context())
		q.Set("provider", h.providers[0].Name)
		again.URL.RawQuery = q.Encode()
		h.limited(h.start)(w, again)
		return
	}
	page := Page{Title: "Sign in", Template: pages.Lookup("choose.html"), Data: struct {
		Providers               []*provider
		Passkeys, Nobody, Fresh bool
		Address                 bool // the gateway has no name, which passkeys need
		Next                    string
	}{h.providers, h.passkeys != nil, h.passkeys != nil && h.passkeys.empty(), fresh, net.ParseIP(h.c.Public.Hostname()) != nil, next}}
	if h.passkeys != nil {
		page.Script = "/login/passkey.js"
	}
	WritePage(w, http.StatusOK, page)
}

// invited is where the link of an invitation leads. It says nothing about
// whom it invites: the token is not sent to it.
func (h *Handler) invited(w http.ResponseWriter, r *http.Request) {
	WritePage(w, http.StatusOK, Page{Title: "Register a passkey", Template: pages.Lookup("invite.html"), Script: "/login/passkey.js"})
}

// shownPasskey is a passkey as the home page shows it.
type shownPasskey struct {
	ID, Short     string
	Created, Used time.Time
}

// home shows who is signed in, and what runs for them.
func (h *Handler) home(w http.ResponseWriter, r *http.Request) {
	s, ok := h.session(r)
	if !ok {
		h.Require(w, r)
		return
	}
	user := s.person.User().ID
	data := struct {
		User, How, CSRF string
		Groups          []string
		Since, Until    time.Time
		Idle            string
		HasTasks, Local bool
		Tasks           []Task
		Passkeys        []shownPasskey
	}{
		User: user, How: "with a passkey", CSRF: s.csrf, Groups: s.person.Groups(), Since: s.since, Until: s.until,
		Idle: minutes(h.c.Idle), HasTasks: h.c.Tasks != nil, Local: h.passkeys != nil && s.person.Issuer() == "",
	}
	if s.person.Issuer() != "" {
		data.How = "at " + s.person.Issuer()
	}
	if h.c.Tasks != nil {
		ts, err := h.c.Tasks(r.Context(), user)
		if err != nil {
			WriteRefusal(w, err, "Your tasks cannot be shown", "/")
			return
		}
		data.Tasks = ts[:min(len(ts), shownTasks)]
	}
	page := Page{Title: "Signed in", Template: pages.Lookup("home.html"), User: user}
	if data.Local {
		page.Script = "/login/passkey.js"
		for _, p := range h.passkeys.of(user) {
			id := b64.EncodeToString(p.Credential.ID)
			data.Passkeys = append(data.Passkeys, shownPasskey{id, id[:min(len(id), 8)], p.Created, p.Used})
		}
	}
	page.Data = data
	WritePage(w, http.StatusOK, page)
}

// logout ends the browser's session. Its form is checked, so that no other
// page can sign anybody out.
func (h *Handler) logout(w http.ResponseWriter, r *http.Request) {
	if _, ok := h.Session(r); ok {
		if err := h.CheckForm(w, r); err != nil {
			WriteRefusal(w, err, "Still signed in", "/")
			return
		}
		h.sessions.end(h.cookies.read(r, sessionCookie))
	}
	h.cookies.clear(w, sessionCookie)
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, "/login?stay=1", http.StatusSeeOther)
}

func (h *Handler) endTask(w http.ResponseWriter, r *http.Request) {
	h.act(w, r, "The task was not ended", func(ctx context.Context, user string) error {
		if h.c.EndTask == nil {
			return refuse(sallyport.ENotFound, "unknown_task", "there are no tasks here", "sallyport task end TASK")
		}
		return h.c.EndTask(ctx, user, r.PostForm.Get("task"))
	})
}

func (h *Handler) removePasskey(w http.ResponseWriter, r *http.Request) {
	h.act(w, r, "The passkey was not removed", func(ctx context.Context, user string) error {
		id := r.PostForm.Get("passkey")
		if id == "" {
			return refuse(sallyport.EInvalid, "bad_form", "the form names no passkey", "load the page again")
		}
		if s, _ := h.session(r); s.person.Issuer() != "" || h.c.Now().Sub(s.since) > freshFor {
			return refuse(sallyport.EForbidden, "not_fresh", "you signed in more than 10 minutes ago", "sign out and in again, then remove the passkey")
		}
		_, err := h.passkeys.remove(ctx, user, id, user, true)
		if err == nil {
			// Whoever has the lost device may still be signed in with it.
			h.sessions.endUser(user, h.cookies.read(r, sessionCookie))
		}
		return err
	})
}

// act does what a form of the home page asks for, and shows the page again.
func (h *Handler) act(w http.ResponseWriter, r *http.Request, failed string, do func(ctx context.Context, user string) error) {
	p, ok := h.Require(w, r)
	if !ok {
		return
	}
	err := h.CheckForm(w, r)
	if err == nil {
		err = do(r.Context(), p.User().ID)
	}
	if err != nil {
		WriteRefusal(w, err, failed, "/")
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// minutes writes a duration for people.
func minutes(d time.Duration) string {
	if d%time.Hour == 0 {
		return strconv.Itoa(int(d/time.Hour)) + " h"
	}
	return strconv.Itoa(int(d/time.Minute)) + " min"
}
