package pdp

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/flow"
	"github.com/sallyport-dev/sallyport/policy"
	"github.com/sallyport-dev/sallyport/task"
)

// document is the JSON form of an Input, as Append writes it. A file for the
// offline decision may have the mandate and the policies in it as well.
type document struct {
	V       int               `json:"v"`
	Engine  string            `json:"engine"`
	Now     time.Time         `json:"now"`
	Call    sallyport.Call    `json:"call"`
	Digest  sallyport.Digest  `json:"call_digest"`
	Binding sallyport.Binding `json:"binding"`
	Holder  string            `json:"holder"`
	Chain   []Party           `json:"chain"`
	Bundle  sallyport.Digest  `json:"bundle"`
	Task    struct {
		ID        sallyport.ID             `json:"id"`
		Version   uint64                   `json:"version"`
		State     task.State               `json:"state"`
		Digest    sallyport.Digest         `json:"digest"`
		Started   time.Time                `json:"started"`
		Meters    map[string]canon.Decimal `json:"meters"`
		Approvals []task.Approval          `json:"approvals"`
		Label     labelText                `json:"label"`
		Refusals  []task.Refusal           `json:"refusals"`
	} `json:"task"`
	Flow flow.View `json:"flow"`
	Tool struct {
		ServerKnown bool             `json:"server_known"`
		Known       bool             `json:"known"`
		Server      string           `json:"server"`
		Tool        string           `json:"tool"`
		Mode        sallyport.Mode   `json:"mode"`
		Class       sallyport.Class  `json:"class"`
		Kinds       []sallyport.Kind `json:"kinds"`
		Evidence    struct {
			Classes   map[string]sallyport.Class `json:"classes"`
			Columns   []string                   `json:"columns"`
			Refused   string                     `json:"refused"`
			Resources []string                   `json:"resources"`
			Why       string                     `json:"why"`
		} `json:"evidence"`
		Sensitivity sallyport.Sensitivity `json:"sensitivity"`
		Reviewed    bool                  `json:"reviewed"`
		Pinned      sallyport.Digest      `json:"pinned"`
		Observed    sallyport.Digest      `json:"observed"`
		Quarantined bool                  `json:"quarantined"`

		Roles    map[string]sallyport.Role `json:"roles"`
		Resource struct {
			Type string `json:"type"`
			Arg  string `json:"arg"`
		} `json:"resource"`
	} `json:"tool"`

	Mandate  json.RawMessage   `json:"mandate"`
	Policies map[string]string `json:"policies"`
	// Tools are those that the policies' schema is made for. The tool of the
	// call is added if it is not among them.
	Tools []struct {
		Server      string            `json:"server"`
		Tool        string            `json:"tool"`
		Class       sallyport.Class   `json:"class"`
		Kinds       []sallyport.Kind  `json:"kinds"`
		InputSchema canon.Value       `json:"input_schema"`
		Types       map[string]string `json:"types"`
		Resource    string            `json:"resource"`
	} `json:"tools"`
}

// labelText reads a label as String writes it.
type labelText sallyport.Label

func (l *labelText) UnmarshalText(b []byte) error {
	v, err := sallyport.ParseLabel(string(b))
	*l = labelText(v)
	return err
}

func (d *document) tools() []policy.Tool {
	own := policy.Tool{Server: d.Tool.Server, Name: d.Tool.Tool, Digest: d.Tool.Pinned, Class: d.Tool.Class, Kinds: d.Tool.Kinds, Resource: d.Tool.Resource.Type}
	var tools []policy.Tool
	for _, t := range d.Tools {
		var digest sallyport.Digest
		if t.Server == own.Server && t.Tool == own.Name {
			digest, own = own.Digest, policy.Tool{}
		}
		tools = append(tools, policy.Tool{Server: t.Server, Name: t.Tool, Digest: digest, Class: t.Class, Kinds: t.Kinds, InputSchema: t.InputSchema, Types: t.Types, Resource: t.Resource})
	}
	if own.Name != "" && !IsMethod(own.Name) {
		tools = append(tools, own)
	}
	return tools
}

// Sources supply what an input names by digest. Either may be nil: then the
// document must hold the thing itself.
type Sources struct {
	Mandate func(sallyport.Digest) (*task.Mandate, error)
	Policy  func(sallyport.Digest) (*policy.Bundle, error)
}

// ParseInput reads an Input. What the text leaves out stays zero, and so
// denies; digests that it leaves out are computed. Errors are of kind EInvalid.
func ParseInput(text []byte, src Sources) (Input, error) {
	var in Input
	bad := func(err error) (Input, error) {
		return Input{}, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_input", Text: "the input is not one that decide reads: " + err.Error(), Fix: "see docs/decide.md and docs/examples/refund.json"}
	}
	v, err := canon.Parse(text, canon.FileLimits)
	if err != nil {
		return bad(err)
	}
	d := json.NewDecoder(bytes.NewReader(v.Canonical()))
	d.DisallowUnknownFields()
	var doc document
	if err := d.Decode(&doc); err != nil {
		return bad(err)
	}
	if doc.V != 0 && doc.V != 1 {
		return bad(sallyport.Errorf(sallyport.EInvalid, "version", "version %d is not known", doc.V))
	}
	in.Engine, in.Now, in.Call, in.Digest, in.Binding, in.Holder, in.Chain = doc.Engine, doc.Now, doc.Call, doc.Digest, doc.Binding, doc.Holder, doc.Chain
	if len(in.Call.Args) == 0 {
		in.Call.Args = json.RawMessage(`{}`)
	}
	if in.Args, err = canon.Parse(in.Call.Args, canon.FileLimits); err != nil {
		return bad(err)
	}
	t := doc.Task
	in.Task = task.View{ID: t.ID, Version: t.Version, State: t.State, Digest: t.Digest, Started: t.Started, Meters: t.Meters, Approvals: t.Approvals, Refusals: t.Refusals, Label: sallyport.Label(t.Label)}
	in.Flow = doc.Flow
	f := doc.Tool
	in.Tool = catalog.Facts{
		ServerKnown: f.ServerKnown, Known: f.Known, Server: f.Server, Tool: f.Tool, Mode: f.Mode, Class: f.Class, Kinds: f.Kinds,
		Sensitivity: f.Sensitivity, Reviewed: f.Reviewed, Pinned: f.Pinned, Observed: f.Observed, Quarantined: f.Quarantined, Roles: f.Roles,
		Resource: catalog.ResourceRef{Type: f.Resource.Type, Arg: f.Resource.Arg},
		Evidence: catalog.Evidence{
			Classes: f.Evidence.Classes, Columns: f.Evidence.Columns, Refused: f.Evidence.Refused,
			Resources: f.Evidence.Resources, Why: f.Evidence.Why,
		},
	}
	switch {
	case doc.Mandate != nil:
		in.Task.Mandate, err = task.ParseMandate(doc.Mandate)
	case src.Mandate != nil:
		in.Task.Mandate, err = src.Mandate(t.Digest)
	}
	if err != nil {
		return bad(err)
	}
	if in.Task.Mandate != nil && in.Task.Digest.IsZero() {
		if in.Task.Digest, err = in.Task.Mandate.Digest(); err != nil {
			return bad(err)
		}
	}
	if in.Call.TaskDigest.IsZero() {
		in.Call.TaskDigest = in.Task.Digest
	}
	if in.Digest.IsZero() {
		in.Digest = canon.CallDigest(in.Call)
	}
	switch {
	case doc.Policies != nil:
		files := policy.Files{}
		for n, b := range doc.Policies {
			files[n] = []byte(b)
		}
		in.Policy, err = policy.Load(files, doc.tools())
	case src.Policy != nil:
		in.Policy, err = src.Policy(doc.Bundle)
	}
	if err != nil {
		return bad(err)
	}
	return in, nil
}
