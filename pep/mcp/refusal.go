package mcp

import (
	"net/http"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/gateway"
)

const (
	// wordPending is the reason code of a call that waits for approval.
	wordPending = "approval_pending"
	// wordUnknownTool is the decision's reason code for a tool that the
	// catalog does not know.
	wordUnknownTool = "unknown_tool"
)

// refused tells the client of a call that was not forwarded. A tool call is
// answered by a result, which an assistant reads; any other request, and the
// call of a tool that does not exist (MCP server/tools, error handling), by
// an error.
func (x *exchange) refused(t target, d gateway.Decided) {
	pending := d.Decision.Verdict == sallyport.Ask && d.Ask != ""
	text := refusalText(t, d, pending)
	decision := decisionValue(d.ID, d.Decision, func(codes []canon.Value) []canon.Value {
		if pending {
			return append([]canon.Value{canon.StringValue(wordPending)}, codes...)
		}
		return codes
	})
	if pending {
		decision = decision.With("ask", canon.StringValue(string(d.Ask)))
		if !d.AskExpires.IsZero() {
			decision = decision.With("ask_expires", canon.StringValue(d.AskExpires.UTC().Format("2006-01-02T15:04:05Z")))
		}
	}
	meta := canon.ObjectValue(canon.Member{Name: metaDecision, Value: decision})
	missing := slices.ContainsFunc(d.Decision.Reasons, func(r sallyport.Reason) bool { return r.Code == wordUnknownTool })
	if x.msg.Method != "tools/call" || missing {
		r := refuse(http.StatusOK, CodeDenied, text)
		switch {
		case pending:
			r.code = CodePending
		case x.msg.Method == "tools/call":
			r.code = codeInvalidParams
		}
		r.data = meta
		x.out.refuse(x.msg.ID, r)
		return
	}
	result := canon.ObjectValue(
		canon.Member{Name: "isError", Value: canon.BoolValue(true)},
		canon.Member{Name: "content", Value: canon.ArrayValue(canon.ObjectValue(
			canon.Member{Name: "type", Value: canon.StringValue("text")},
			canon.Member{Name: "text", Value: canon.StringValue(text)}))},
		canon.Member{Name: "_meta", Value: meta})
	if x.modern {
		result = result.With("resultType", canon.StringValue("complete"))
	}
	x.out.finish(reply{status: http.StatusOK, ctype: "application/json", body: response(x.msg.ID, "result", result)})
}

// decisionValue is the machine-readable word on a call.
func decisionValue(id sallyport.ID, d sallyport.Decision, change func([]canon.Value) []canon.Value) canon.Value {
	var codes []canon.Value
	seen := map[string]bool{}
	for _, r := range d.Reasons {
		if r.Code != "" && !seen[r.Code] {
			seen[r.Code] = true
			codes = append(codes, canon.StringValue(r.Code))
		}
	}
	if change != nil {
		codes = change(codes)
	}
	return canon.ObjectValue(
		canon.Member{Name: "id", Value: canon.StringValue(string(id))},
		canon.Member{Name: "verdict", Value: canon.StringValue(d.Verdict.String())},
		canon.Member{Name: "codes", Value: canon.ArrayValue(codes...)})
}

// refusalText says to an assistant what was refused, why, and what would
// make it pass. It repeats no argument.
func refusalText(t target, d gateway.Decided, pending bool) string {
	var b strings.Builder
	what := t.srv.Name + "/" + t.tool
	if pending {
		b.WriteString("waiting for approval: " + what + "\n")
	} else {
		b.WriteString("denied: " + what + "\n")
	}
	for _, r := range d.Decision.Reasons {
		if r.Verdict == sallyport.Permit {
			continue
		}
		rule := r.Rule
		if rule == "" {
			rule = r.Code
		}
		b.WriteString("  rule      " + rule)
		if r.At != "" {
			b.WriteString("   (" + r.At + ")")
		}
		if r.Text != "" {
			b.WriteString("   " + r.Text)
		}
		b.WriteByte('\n')
		fix := r.Fix
		if fix == "" && len(r.Groups) > 0 {
			fix = "an approval by: " + strings.Join(r.Groups, ", ")
		}
		if fix != "" {
			b.WriteString("  to pass   " + fix + "\n")
		}
	}
	if pending {
		b.WriteString("  approval  " + string(d.Ask) + " is pending: retry the identical call once it was given\n")
	}
	b.WriteString("  decision  " + string(d.ID))
	return b.String()
}
