package sts_test

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/leasetest"
	"github.com/sallyport-dev/sallyport/lease/sts"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/secret"
)

// MinIO reads a role's ARN for a web identity only.
const role = "arn:minio:iam:::role/any"

const (
	readPolicy  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:ListBucket","s3:GetObject"],"Resource":["arn:aws:s3:::orders","arn:aws:s3:::orders/*"]}]}`
	writePolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:ListBucket","s3:GetObject","s3:PutObject"],"Resource":["arn:aws:s3:::orders","arn:aws:s3:::orders/*"]}]}`
)

func text(s string) lease.Source {
	return func(context.Context) (secret.Value, error) { return secret.Text(s), nil }
}

func classes(role string) map[sallyport.Class]sts.Session {
	return map[sallyport.Class]sts.Session{sallyport.Read: {Role: role, Policy: readPolicy}, sallyport.Write: {Role: role, Policy: writePolicy}}
}

func newBackend(t testing.TB, c sts.Config) *sts.Backend {
	t.Helper()
	c.Region = "us-east-1"
	b, err := sts.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// s3 makes one signed request, and returns the answer's body.
func s3(ctx context.Context, m *sallyporttest.MinIO, key aws.Credentials, method, path, body string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, m.Endpoint+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(body))
	hash := hex.EncodeToString(sum[:])
	req.Header.Set("X-Amz-Content-Sha256", hash)
	if err := v4.NewSigner().SignHTTP(ctx, key, req, hash, "s3", "us-east-1", time.Now()); err != nil {
		return "", err
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	out, _ := io.ReadAll(r.Body)
	if r.StatusCode/100 != 2 {
		return "", fmt.Errorf("%s %s: %s %s", method, path, r.Status, out)
	}
	return string(out), nil
}

func keyOf(c lease.Credential) aws.Credentials {
	part := func(name string) string { v, _ := c.Part(name); return v.UnsafeString() }
	return aws.Credentials{AccessKeyID: part(lease.AccessKey), SecretAccessKey: part(lease.SecretKey), SessionToken: part(lease.Session)}
}

// fixture is a server with two buckets; a session may read orders.
func fixture(t testing.TB, m *sallyporttest.MinIO, b *sts.Backend) leasetest.Fixture {
	root := aws.Credentials{AccessKeyID: m.AccessKey, SecretAccessKey: m.SecretKey}
	for _, put := range [][2]string{{"/orders", ""}, {"/payroll", ""}, {"/orders/1", "a thing"}, {"/payroll/1", "a thing"}} {
		if _, err := s3(context.Background(), m, root, http.MethodPut, put[0], put[1]); err != nil && !strings.Contains(err.Error(), "BucketAlreadyOwnedByYou") {
			t.Fatal(err)
		}
	}
	return leasetest.Fixture{
		Backend: b,
		Read: func(ctx context.Context, c lease.Credential) error {
			if out, err := s3(ctx, m, keyOf(c), http.MethodGet, "/orders/1", ""); err != nil || out != "a thing" {
				return fmt.Errorf("get: %q %w", out, err)
			}
			if out, err := s3(ctx, m, keyOf(c), http.MethodGet, "/orders?list-type=2", ""); err != nil || !strings.Contains(out, "<Key>1</Key>") {
				return fmt.Errorf("list: %q %w", out, err)
			}
			if _, err := s3(ctx, m, keyOf(c), http.MethodGet, "/payroll/1", ""); err == nil {
				t.Error("the session reads what only the role may")
			}
			return nil
		},
		Write: func(ctx context.Context, c lease.Credential) error {
			_, err := s3(ctx, m, keyOf(c), http.MethodPut, "/orders/2", "another")
			return err
		},
	}
}

func assumer(t testing.TB, m *sallyporttest.MinIO) *sts.Backend {
	return newBackend(t, sts.Config{Endpoint: m.Endpoint, AccessKey: text(m.AccessKey), SecretKey: text(m.SecretKey + "\n"), Classes: classes(role), Attribution: true})
}

func TestAssumeRole(t *testing.T) {
	m := sallyporttest.StartMinIO(t)
	leasetest.Run(t, fixture(t, m, assumer(t, m)))
}

func BenchmarkSTS(b *testing.B) {
	m := sallyporttest.StartMinIO(b)
	leasetest.Bench(b, fixture(b, m, assumer(b, m)))
}

// A token of an OpenID provider takes the place of keys; one that it did not
// sign is refused.
func TestWebIdentity(t *testing.T) {
	const audience = "https://minio.test.example"
	p := sallyporttest.OIDC(t)
	p.Register(map[string]any{"client_id": "sallyport", "client_secret": "s3cr3t", "grant_types": []string{"client_credentials"},
		"redirect_uris": []string{}, "response_types": []string{}, "token_endpoint_auth_method": "client_secret_post"})
	status, answer := p.Token(url.Values{"grant_type": {"client_credentials"}, "client_id": {"sallyport"}, "client_secret": {"s3cr3t"}, "resource": {audience}, "scope": {"read"}}, nil)
	token, _ := answer["access_token"].(string)
	if status != http.StatusOK || strings.Count(token, ".") != 2 {
		t.Fatalf("%d %v", status, answer)
	}
	m := sallyporttest.StartMinIO(t, "MINIO_IDENTITY_OPENID_CONFIG_URL="+p.Issuer+"/.well-known/openid-configuration",
		"MINIO_IDENTITY_OPENID_CLIENT_ID="+audience, "MINIO_IDENTITY_OPENID_ROLE_POLICY=readwrite")
	// MinIO names the role after the client that it is for.
	sum := sha1.Sum([]byte(audience))
	arn := "arn:minio:iam:::role/" + base64.RawURLEncoding.EncodeToString(sum[:])
	backend := func(token, arn string) *sts.Backend {
		return newBackend(t, sts.Config{Endpoint: m.Endpoint, WebIdentity: text(token), Classes: classes(arn), Attribution: true})
	}
	b := backend(token+"\n", arn)
	t.Run("suite", func(t *testing.T) { leasetest.Run(t, fixture(t, m, b)) })

	head, sig, _ := strings.Cut(token[strings.Index(token, ".")+1:], ".")
	claims, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		t.Fatal(err)
	}
	claims = []byte(strings.Replace(string(claims), `"sallyport"`, `"somebody"`, 1))
	forged := token[:strings.Index(token, ".")+1] + base64.RawURLEncoding.EncodeToString(claims) + "." + sig
	for name, b := range map[string]*sts.Backend{"forged": backend(forged, arn), "no token": backend("canary-51966", arn), "another role": backend(token, arn+"x")} {
		t.Run(name, func(t *testing.T) {
			_, err := mint(b, sallyport.Read)
			if sallyport.KindOf(err) != sallyport.EUnavailable || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), sig) {
				t.Errorf("mint: %v", err)
			}
		})
	}
}

func mint(b *sts.Backend, c sallyport.Class) (lease.Minted, error) {
	return b.Mint(context.Background(), leasetest.NewHandle(leasetest.Owner), lease.Spec{
		Class: c, TTL: time.Minute, User: "dana@example.org", Agent: "spiffe://example.org/agent/x", Task: "t_000000000001", Decision: "d_000000000001"})
}

// A session lives 15 minutes at least, by the service's clock.
func TestTimes(t *testing.T) {
	m := sallyporttest.StartMinIO(t)
	b := assumer(t, m)
	for ttl, want := range map[time.Duration]time.Duration{time.Minute: 15 * time.Minute, time.Hour + time.Millisecond: time.Hour + time.Second} {
		got, err := b.Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), lease.Spec{Class: sallyport.Read, TTL: ttl})
		if left := time.Until(got.Expires); err != nil || left > want+time.Second || left < want-time.Minute {
			t.Errorf("%v asked for: it expires in %v (%v)", ttl, left, err)
		}
	}
}

// Faults of the service: an error soon, without a secret, and success later.
func TestOutOfReach(t *testing.T) {
	m := sallyporttest.StartMinIO(t)
	b := assumer(t, m)
	wrong := newBackend(t, sts.Config{Endpoint: m.Endpoint, AccessKey: text(m.AccessKey), SecretKey: text("canary-51966"), Classes: classes(role)})
	if _, err := mint(wrong, sallyport.Read); sallyport.KindOf(err) != sallyport.EUnavailable || strings.Contains(err.Error(), "canary") {
		t.Errorf("a wrong key: %v", err)
	}
	m.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := b.Mint(ctx, leasetest.NewHandle(leasetest.Owner), lease.Spec{Class: sallyport.Read}); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 30*time.Second {
		t.Errorf("a service that hangs: %v after %v", err, time.Since(start))
	}
	m.Resume()
	m.Kill()
	if _, err := mint(b, sallyport.Read); sallyport.KindOf(err) != sallyport.EUnavailable || strings.Contains(err.Error(), m.SecretKey) {
		t.Errorf("a service that is down: %v", err)
	}
	m.Start()
	if _, err := mint(b, sallyport.Read); err != nil {
		t.Errorf("later: %v", err)
	}
}

// recorder is a service that keeps what it was asked: MinIO ignores
// attribution, so that what is sent is read here.
func recorder(t *testing.T) (string, func() url.Values) {
	var last url.Values
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		last = r.PostForm
		w.Header().Set("Content-Type", "text/xml")
		fmt.Fprintf(w, `<%[1]sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%[1]sResult><Credentials><AccessKeyId>ASIAX</AccessKeyId>`+
			`<SecretAccessKey>x</SecretAccessKey><SessionToken>y</SessionToken><Expiration>2038-01-01T00:00:00Z</Expiration></Credentials></%[1]sResult></%[1]sResponse>`, last.Get("Action"))
	}))
	t.Cleanup(s.Close)
	return s.URL, func() url.Values { return last }
}

func TestAttribution(t *testing.T) {
	addr, last := recorder(t)
	c := sts.Config{Endpoint: addr, AccessKey: text("AKIAX"), SecretKey: text("x"), ExternalID: "ours", Classes: classes(role), Attribution: true}
	h := leasetest.NewHandle(leasetest.Owner)
	spec := lease.Spec{Class: sallyport.Write, User: "dana/ops@example.org", Agent: "spiffe://example.org/agent/{x}", Task: "t_000000000001", Decision: "d_000000000001"}
	if _, err := newBackend(t, c).Mint(t.Context(), h, spec); err != nil {
		t.Fatal(err)
	}
	got := last()
	tags := map[string]string{}
	for i := 1; got.Has(fmt.Sprintf("Tags.member.%d.Key", i)); i++ {
		tags[got.Get(fmt.Sprintf("Tags.member.%d.Key", i))] = got.Get(fmt.Sprintf("Tags.member.%d.Value", i))
	}
	want := map[string]string{"sallyport-task": "t_000000000001", "sallyport-agent": "spiffe://example.org/agent/_x_", "sallyport-decision": "d_000000000001", "sallyport-class": "write"}
	if fmt.Sprint(tags) != fmt.Sprint(want) || got.Get("SourceIdentity") != "dana-ops@example.org" || got.Get("RoleSessionName") != string(h) ||
		got.Get("ExternalId") != "ours" || got.Get("DurationSeconds") != "900" || got.Get("Policy") != writePolicyOrdered || got.Has("TransitiveTagKeys.member.1") {
		t.Errorf("asked for %v", got)
	}
	c.Attribution = false
	if _, err := newBackend(t, c).Mint(t.Context(), h, spec); err != nil {
		t.Fatal(err)
	}
	if got := last(); got.Has("SourceIdentity") || got.Has("Tags.member.1.Key") {
		t.Errorf("without attribution: %v", got)
	}
}

// The members of an object come sorted.
const writePolicyOrdered = `{"Statement":[{"Action":["s3:ListBucket","s3:GetObject","s3:PutObject"],"Effect":"Allow","Resource":["arn:aws:s3:::orders","arn:aws:s3:::orders/*"]}],"Version":"2012-10-17"}`

// A policy's variables are values and cannot become patterns.
func TestVariables(t *testing.T) {
	addr, last := recorder(t)
	b := newBackend(t, sts.Config{Endpoint: addr, AccessKey: text("AKIAX"), SecretKey: text("x"), Classes: map[sallyport.Class]sts.Session{
		sallyport.Read: {Role: role, Policy: `{"Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::home/{user}/{task}/*"}]}`}}})
	if _, err := mint(b, sallyport.Read); err != nil {
		t.Fatal(err)
	}
	if p := last().Get("Policy"); !strings.Contains(p, `"arn:aws:s3:::home/dana@example.org/t_000000000001/*"`) {
		t.Errorf("the policy is %s", p)
	}
	for _, user := range []string{"", "*", "d?na", "${aws:username}", "../payroll", `x","y`, "a b", "dána", "{task}"} {
		_, err := b.Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), lease.Spec{Class: sallyport.Read, User: user, Task: "t_000000000001"})
		if sallyport.KindOf(err) != sallyport.EForbidden {
			t.Errorf("the user %q is taken into a policy: %v", user, err)
		}
	}
}

func TestClassWithoutRole(t *testing.T) {
	addr, last := recorder(t)
	b := newBackend(t, sts.Config{Endpoint: addr, AccessKey: text("AKIAX"), SecretKey: text("x"), Classes: classes(role)})
	if _, err := mint(b, sallyport.Act); sallyport.KindOf(err) != sallyport.EForbidden || last() != nil {
		t.Errorf("act: %v", err)
	}
}

func TestBadConfig(t *testing.T) {
	k := text("x")
	one := func(s sts.Session) map[sallyport.Class]sts.Session {
		return map[sallyport.Class]sts.Session{sallyport.Read: s}
	}
	for name, c := range map[string]sts.Config{
		"no region":        {AccessKey: k, SecretKey: k, Classes: classes(role)},
		"no key":           {Region: "x", Classes: classes(role)},
		"half a key":       {Region: "x", AccessKey: k, Classes: classes(role)},
		"both":             {Region: "x", AccessKey: k, SecretKey: k, WebIdentity: k, Classes: classes(role)},
		"a key and a half": {Region: "x", AccessKey: k, WebIdentity: k, Classes: classes(role)},
		"no class":         {Region: "x", AccessKey: k, SecretKey: k},
		"no role":          {Region: "x", AccessKey: k, SecretKey: k, Classes: one(sts.Session{Role: "admin"})},
		"plain http":       {Region: "x", AccessKey: k, SecretKey: k, Classes: classes(role), Endpoint: "http://sts.example.org"},
		"a password":       {Region: "x", AccessKey: k, SecretKey: k, Classes: classes(role), Endpoint: "https://a:b@sts.example.org"},
		"no JSON":          {Region: "x", AccessKey: k, SecretKey: k, Classes: one(sts.Session{Role: role, Policy: "{"})},
		"two policies":     {Region: "x", AccessKey: k, SecretKey: k, Classes: one(sts.Session{Role: role, Policy: readPolicy + readPolicy})},
		"no statement":     {Region: "x", AccessKey: k, SecretKey: k, Classes: one(sts.Session{Role: role, Policy: "{}"})},
		"too long":         {Region: "x", AccessKey: k, SecretKey: k, Classes: one(sts.Session{Role: role, Policy: `{"Statement":"` + strings.Repeat("x", 2048) + `"}`})},
		"read as wide as write": {Region: "x", AccessKey: k, SecretKey: k,
			Classes: map[sallyport.Class]sts.Session{sallyport.Read: {Role: role}, sallyport.Write: {Role: role, Policy: writePolicy}}},
	} {
		if _, err := sts.New(c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// What is sent to the service goes nowhere else: the request holds a token.
func TestRedirectIsNotFollowed(t *testing.T) {
	var asked, got atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { got.Add(1) }))
	defer other.Close()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	}))
	defer service.Close()
	read := func(context.Context) (secret.Value, error) { return secret.Text("the-token-of-the-workload"), nil }
	for _, c := range []sts.Config{{WebIdentity: read}, {AccessKey: read, SecretKey: read}} {
		c.Endpoint, c.Region = service.URL, "eu-west-1"
		c.Classes = map[sallyport.Class]sts.Session{sallyport.Read: {Role: "arn:aws:iam::123456789012:role/reader"}}
		b, err := sts.New(c)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, err = b.Mint(ctx, leasetest.NewHandle(leasetest.Owner), lease.Spec{Class: sallyport.Read, TTL: time.Minute})
		cancel()
		if err == nil || asked.Load() == 0 || got.Load() > 0 {
			t.Errorf("%v; of %d requests %d went elsewhere", err, asked.Load(), got.Load())
		}
		asked.Store(0)
		if err != nil && strings.Contains(err.Error(), "workload") {
			t.Error(err)
		}
	}
}
