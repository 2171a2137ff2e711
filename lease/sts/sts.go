// Package sts mints sessions of AWS roles, at AWS or at what speaks its
// Security Token Service: a role is assumed (AssumeRole, or
// AssumeRoleWithWebIdentity with a token of the gateway's workload), narrowed
// by a session policy per class. Source: AWS Security Token Service API
// Reference, version 2011-06-15.
//
// A session cannot be taken back. It lives for 15 minutes at least, by the
// service's clock, and until then only its holder decides whether it is used:
// the gateway, which gives it to nobody.
package sts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/secret"
)

// The service's bounds.
const (
	minSession = 15 * time.Minute
	maxSession = 12 * time.Hour
	maxPolicy  = 2048 // characters of a session policy
	maxName    = 64   // of a source identity
	maxTag     = 256  // characters of a session tag's value
)

// Config is who assumes which role. Either a key (AccessKey and SecretKey) or
// a WebIdentity is needed.
type Config struct {
	// Endpoint is the URL of the service; "": AWS's own of the region. It is
	// https, or of a loopback address.
	Endpoint string
	// Region signs the request and, at AWS, finds the service.
	Region string
	// AccessKey and SecretKey are the key that assumes the role; SessionToken
	// comes with a key that is itself of a session, and may be nil.
	AccessKey, SecretKey, SessionToken lease.Source
	// WebIdentity reads a token of an OpenID provider that the role trusts.
	WebIdentity lease.Source
	// ExternalID is what the role's trust policy asks of a third party.
	ExternalID string
	// Classes are the sessions of a class. A class without an entry gets none.
	Classes map[sallyport.Class]Session
	// Attribution names the user as the source identity, and the task, the
	// agent, the decision and the class as session tags. With a WebIdentity
	// it does nothing: there only the token's issuer can say such things.
	Attribution bool
}

// Session is a role and what is left of it.
type Session struct {
	// Role is its ARN.
	Role string
	// Policy is an IAM policy in JSON; the session may do what both it and
	// the role allow. In its strings {task} is the id of the task and {user}
	// the user's. "": all that the role may do.
	Policy string
}

// Backend is a lease.Backend. It holds no secret between mints.
type Backend struct {
	c        Config
	client   *sts.Client
	policies map[sallyport.Class]any // parsed; no entry: the role's own
}

// New checks the config. The service is first asked by Mint.
func New(c Config) (*Backend, error) {
	keys := c.AccessKey != nil && c.SecretKey != nil
	switch {
	case c.Region == "":
		return nil, errors.New("sts: no region")
	case keys == (c.WebIdentity != nil) || !keys && (c.AccessKey != nil || c.SecretKey != nil || c.SessionToken != nil):
		return nil, errors.New("sts: either an access key and its secret key are needed, or a web identity")
	case c.WebIdentity != nil && c.ExternalID != "":
		return nil, errors.New("sts: a web identity has no external id")
	case len(c.Classes) == 0:
		return nil, errors.New("sts: no class has a role")
	}
	o := sts.Options{
		Region: c.Region, AppID: "sallyport",
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts = 2; o.MaxBackoff = time.Second }),
	}
	if c.Endpoint != "" {
		u, err := url.Parse(c.Endpoint)
		if err != nil || u.Host == "" || u.User != nil {
			return nil, fmt.Errorf("sts: the endpoint is no URL of a host")
		}
		// The answer holds the session's keys, and the request may hold a token.
		addr, _ := netip.ParseAddr(u.Hostname())
		if u.Scheme != "https" && !(u.Scheme == "http" && (addr.IsLoopback() || u.Hostname() == "localhost")) {
			return nil, fmt.Errorf("sts: the endpoint %s://%s is neither https nor on this machine", u.Scheme, u.Host)
		}
		o.BaseEndpoint = aws.String(c.Endpoint)
	}
	b := &Backend{policies: map[sallyport.Class]any{}}
	c.Classes = maps.Clone(c.Classes)
	for class, s := range c.Classes {
		if len(s.Role) < 20 || !strings.HasPrefix(s.Role, "arn:") {
			return nil, fmt.Errorf("sts: class %s: %q is no ARN of a role", class, s.Role)
		}
		if s.Policy == "" {
			continue
		}
		p, err := parsePolicy(s.Policy)
		if err != nil {
			return nil, fmt.Errorf("sts: class %s: the policy %w", class, err)
		}
		b.policies[class] = p
	}
	for class, s := range c.Classes {
		for wider, w := range c.Classes {
			if s.Policy == "" && wider < class && w.Role == s.Role {
				return nil, fmt.Errorf("sts: class %s has no policy and the role of class %s: its sessions could do all that those can", class, wider)
			}
		}
	}
	b.c, b.client = c, sts.New(o)
	return b, nil
}

// parsePolicy reads the JSON of a policy.
func parsePolicy(text string) (any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var p map[string]any
	if err := d.Decode(&p); err != nil {
		return nil, fmt.Errorf("is no JSON object: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("has something after its end")
	}
	if p["Statement"] == nil {
		return nil, errors.New("has no Statement")
	}
	if _, err := render(p, map[string]string{"{task}": "", "{user}": ""}); err != nil {
		return nil, err
	}
	return p, nil
}

// render writes a policy with its variables filled in. Only whole JSON strings
// are looked at, so that a value can end none.
func render(p any, vars map[string]string) (string, error) {
	var fill func(any) any
	fill = func(v any) any {
		switch v := v.(type) {
		case string:
			for name, value := range vars {
				v = strings.ReplaceAll(v, name, value)
			}
			return v
		case []any:
			out := make([]any, len(v))
			for i := range v {
				out[i] = fill(v[i])
			}
			return out
		case map[string]any:
			out := make(map[string]any, len(v))
			for k := range v {
				out[k] = fill(v[k])
			}
			return out
		}
		return v
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false) // six characters for one count against the bound
	if err := e.Encode(fill(p)); err != nil {
		return "", err
	}
	out := strings.TrimSpace(text.String())
	if len(out) > maxPolicy {
		return "", fmt.Errorf("has %d characters, and the service takes %d", len(out), maxPolicy)
	}
	return out, nil
}

// Truth says that nothing is taken back.
func (b *Backend) Truth() lease.Truth {
	return lease.Truth{Backend: "sts", Revoke: lease.None, ShortestTTL: minSession,
		Note: "a session is good until it expires, 15 minutes after it was made at least; the gateway stops using it and nobody else has it. A deny in the role's policy on aws:PrincipalTag/sallyport-task ends a task's sessions at AWS within minutes"}
}

// Mint assumes the role. Each call makes a session of its own.
func (b *Backend) Mint(ctx context.Context, h lease.Handle, s lease.Spec) (lease.Minted, error) {
	session, ok := b.c.Classes[s.Class]
	if !ok {
		return lease.Minted{}, &sallyport.Error{Kind: sallyport.EForbidden, Code: "no_credential",
			Text: fmt.Sprintf("sts: no role is configured for the class %s", s.Class), Fix: "give the class a role"}
	}
	var policy *string
	if p, ok := b.policies[s.Class]; ok {
		vars := map[string]string{}
		for name, value := range map[string]string{"{task}": string(s.Task), "{user}": s.User} {
			if !strings.Contains(session.Policy, name) {
				continue
			}
			// A *, ? or ${ in a resource would match more than was meant, a /
			// another folder.
			if value == "" || value != clean(value, '-', nameMark) {
				return lease.Minted{}, &sallyport.Error{Kind: sallyport.EForbidden, Code: "no_credential",
					Text: fmt.Sprintf("sts: the policy of class %s needs %s, and what it stands for has characters other than letters, digits and _+=,.@-, or none", s.Class, name)}
			}
			vars[name] = value
		}
		text, err := render(p, vars)
		if err != nil {
			return lease.Minted{}, lease.Failure("sts", "writing the session policy", err)
		}
		policy = &text
	}
	// Whole seconds, rounded up.
	seconds := aws.Int32(int32((min(max(s.TTL, minSession), maxSession) + time.Second - 1) / time.Second))
	var got *types.Credentials
	var root []secret.Value
	var err error
	if b.c.WebIdentity != nil {
		got, root, err = b.webIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{
			RoleArn: &session.Role, RoleSessionName: aws.String(string(h)), DurationSeconds: seconds, Policy: policy})
	} else {
		in := &sts.AssumeRoleInput{RoleArn: &session.Role, RoleSessionName: aws.String(string(h)), DurationSeconds: seconds, Policy: policy}
		if b.c.ExternalID != "" {
			in.ExternalId = &b.c.ExternalID
		}
		if b.c.Attribution {
			attribute(in, s)
		}
		got, root, err = b.assume(ctx, in)
	}
	if err == nil && (got == nil || aws.ToString(got.AccessKeyId) == "" || aws.ToString(got.SecretAccessKey) == "" || got.Expiration == nil) {
		err = errors.New("the answer holds no session")
	}
	if err != nil {
		return lease.Minted{}, lease.Failure("sts", "assuming the role "+session.Role, plain(ctx, err, root))
	}
	return lease.Minted{
		Credential: lease.Credential{
			Values: map[string]string{lease.AccessKey: *got.AccessKeyId},
			Secrets: map[string]secret.Value{
				lease.SecretKey: secret.Text(*got.SecretAccessKey),
				lease.Session:   secret.Text(aws.ToString(got.SessionToken)),
			},
		},
		Expires: *got.Expiration,
		Kept:    lease.Kept{Ref: *got.AccessKeyId},
	}, nil
}

// assume calls AssumeRole with the key as it is now.
func (b *Backend) assume(ctx context.Context, in *sts.AssumeRoleInput) (*types.Credentials, []secret.Value, error) {
	var root []secret.Value
	var key [3]string
	for i, source := range []lease.Source{b.c.AccessKey, b.c.SecretKey, b.c.SessionToken} {
		if source == nil {
			continue
		}
		v, err := source(ctx)
		if err != nil {
			return nil, root, err
		}
		root = append(root, v)
		key[i] = strings.TrimSpace(v.UnsafeString())
	}
	out, err := b.client.AssumeRole(ctx, in, func(o *sts.Options) {
		o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: key[0], SecretAccessKey: key[1], SessionToken: key[2], Source: "sallyport"}, nil
		})
	})
	if err != nil {
		return nil, root, err
	}
	return out.Credentials, root, nil
}

// webIdentity calls AssumeRoleWithWebIdentity, which is not signed.
func (b *Backend) webIdentity(ctx context.Context, in *sts.AssumeRoleWithWebIdentityInput) (*types.Credentials, []secret.Value, error) {
	v, err := b.c.WebIdentity(ctx)
	if err != nil {
		return nil, nil, err
	}
	in.WebIdentityToken = aws.String(strings.TrimSpace(v.UnsafeString()))
	out, err := b.client.AssumeRoleWithWebIdentity(ctx, in)
	if err != nil {
		return nil, []secret.Value{v}, err
	}
	return out.Credentials, []secret.Value{v}, nil
}

// attribute says for whom the session is, in what the service's log keeps.
func attribute(in *sts.AssumeRoleInput, s lease.Spec) {
	if user := clean(s.User, '-', nameMark); len(user) >= 2 {
		in.SourceIdentity = aws.String(cut(user, maxName))
	}
	for _, t := range [][2]string{
		{"task", string(s.Task)}, {"agent", s.Agent}, {"decision", string(s.Decision)}, {"class", s.Class.String()},
	} {
		if t[1] != "" {
			in.Tags = append(in.Tags, types.Tag{Key: aws.String("sallyport-" + t[0]), Value: aws.String(cut(clean(t[1], '_', tagMark), maxTag))})
		}
	}
}

// The marks beside ASCII letters and digits that the service takes in the name
// of a session, and in a tag. (A tag may hold any letter; ASCII is enough.)
const nameMark, tagMark = "_+=,.@-", " _.:/=+-@"

// clean puts by in the place of every character that is not taken.
func clean(s string, by rune, marks string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(marks, r) {
			return r
		}
		return by
	}, s)
}

func cut(s string, n int) string { return s[:min(len(s), n)] }

// plain is what an operator needs of the client's error, without what the
// service may have quoted.
func plain(ctx context.Context, err error, root []secret.Value) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		var op *smithy.OperationError
		if errors.As(err, &op) {
			return op.Err
		}
		return err
	}
	text := api.ErrorMessage()
	for _, v := range root {
		if s := strings.TrimSpace(v.UnsafeString()); len(s) >= 8 {
			text = strings.ReplaceAll(text, s, "[secret]")
		}
	}
	return fmt.Errorf("%s: %s", api.ErrorCode(), cut(text, 300))
}

// Revoke does nothing: the service cannot take a session back. The broker
// forgets it.
func (b *Backend) Revoke(context.Context, lease.Handle, lease.Kept) error { return nil }

// List finds nothing: the service lists no sessions.
func (b *Backend) List(context.Context, lease.Owner) ([]lease.Handle, error) { return nil, nil }
