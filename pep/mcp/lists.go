package mcp

import (
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/identity"
)

// listKind says how a list method is filtered.
type listKind struct {
	key  string // of the list in the result
	name string // of the member that names an entry
	gate string // what must be visible for any entry to be; "" decides by entry
}

var listKinds = map[string]listKind{
	"tools/list":               {key: "tools", name: "name"},
	"prompts/list":             {key: "prompts", name: "name", gate: methodPrefix + "prompts/get"},
	"resources/list":           {key: "resources", name: "uri", gate: methodPrefix + "resources/read"},
	"resources/templates/list": {key: "resourceTemplates", name: "uriTemplate", gate: methodPrefix + "resources/read"},
}

// list forwards a list request and filters the answer to what the task may
// call.
func (x *exchange) list() {
	a, ok := x.ask(x.outgoing(x.forwardable().Canonical()))
	if !ok {
		return
	}
	if !a.failed() {
		result, err := canon.Parse(a.env.result.of(a.body), canon.ResultLimits)
		if err != nil || result.Kind() != canon.Object {
			x.failed(x.srv, &upstreamError{word: wordGarbage, text: "sent a list that cannot be read strictly", sent: true, err: err})
			return
		}
		if x.msg.Method == "tools/list" {
			if err := x.observeList(result); err != nil {
				x.out.refuse(x.msg.ID, refuseError(err))
				return
			}
		}
		filtered := x.h.filterList(x.who, x.srv, x.msg.Method, result)
		shown, _ := filtered.Get(listKinds[x.msg.Method].key)
		if err := x.named(x.srv, x.msg.Method, shown.Elems()); err != nil {
			x.out.refuse(x.msg.ID, refuseError(err))
			return
		}
		if x.modern {
			// The list is this task's: no shared cache may give it to another.
			if scope, ok := filtered.Get("cacheScope"); ok && scope.Text() != "private" {
				filtered = filtered.With("cacheScope", canon.StringValue("private"))
			}
		}
		if !filtered.Equal(result) {
			a.body = splice(a.body, a.env.result, filtered.Canonical())
		}
	}
	x.out.finish(a)
}

// observeList shows the catalog the tools that a server listed to a client.
// The catalog wants the whole list, since a tool that is missing was removed;
// of a list in pages the gateway reads all pages for itself.
func (x *exchange) observeList(result canon.Value) error {
	list, _ := result.Get("tools")
	next, _ := result.Get("nextCursor")
	_, later := x.msg.Params.Get("cursor")
	switch {
	case list.Kind() != canon.Array:
		return nil
	case later:
	case next.Kind() == canon.String && next.Text() != "":
		if c, err := x.conn(); err == nil && c != nil {
			x.h.changed(x.srv, c)
		}
	default:
		x.srv.note(list.Elems())
		return x.h.Gateway.ObserveTools(x.r.Context(), x.srv.Name, list.Elems())
	}
	x.srv.note(list.Elems())
	return nil
}

// filterList takes out of a list what the task may never call.
func (h *Handler) filterList(who identity.Verified, srv *server, method string, result canon.Value) canon.Value {
	kind := listKinds[method]
	list, _ := result.Get(kind.key)
	if list.Kind() != canon.Array {
		return result
	}
	kept := h.visible(who, srv, method, list.Elems())
	if len(kept) == len(list.Elems()) {
		return result
	}
	return result.With(kind.key, canon.ArrayValue(kept...))
}

// visible returns the entries of a list that the task may call.
func (h *Handler) visible(who identity.Verified, srv *server, method string, entries []canon.Value) []canon.Value {
	kind := listKinds[method]
	kept := make([]canon.Value, 0, len(entries))
	for _, e := range entries {
		name, _ := e.Get(kind.name)
		gate := kind.gate
		if gate == "" {
			gate = name.Text()
			if _, ok := paramHeaders(e); !ok {
				continue // a client must drop it (x-mcp-header)
			}
		}
		if name.Kind() != canon.String || name.Text() == "" {
			continue
		}
		// A tool is shown as it was accepted, or not at all: a server may list
		// other definitions to this session than the gateway has seen.
		shown := kind.gate == "" && h.Gateway.VisibleTool(who, srv.Name, e) ||
			kind.gate != "" && h.Gateway.Visible(who, srv.Name, gate)
		if shown {
			kept = append(kept, e)
		}
	}
	return kept
}
