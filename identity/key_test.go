package identity

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bot.key")
	k, err := NewAgentKey("example.org", "bot")
	if err != nil {
		t.Fatal(err)
	}
	if err := SaveAgentKey(path, k); err != nil {
		t.Fatal(err)
	}
	if err := SaveAgentKey(path, k); sallyport.KindOf(err) != sallyport.EConflict {
		t.Errorf("a second save: %v", err)
	}
	back, err := LoadAgentKey(path)
	if err != nil || back.ID() != k.ID() || back.Thumbprint() != k.Thumbprint() || back.Domain() != "example.org" {
		t.Fatalf("%v, %v", back, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o700} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadAgentKey(path); sallyport.CodeOf(err) != "key_permissions" || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	link := path + ".link"
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadAgentKey(link); err == nil {
		t.Error("a link is followed")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "{}", strings.Replace(string(text), `"spiffe_id":"spiffe://example.org`, `"spiffe_id":"spiffe://evil.example`, 1), strings.Replace(string(text), `"d":"`, `"d":"A`, 1)} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadAgentKey(path); sallyport.CodeOf(err) != "bad_key" {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := NewAgentKey("example.org", "a/../b"); err == nil {
		t.Error("a name with a slash is taken")
	}
}

// TestI11_KeysHaveNoString: no way of printing a key, or what holds one,
// shows the secret.
func TestI11_KeysHaveNoString(t *testing.T) {
	r := newRoom(t)
	d := r.key.key.secret()
	holder := struct {
		Key    *AgentKey
		hidden AgentKey
		issuer *Issuer
		deep   []any
	}{r.key, *r.key, r.issuer, []any{*r.key, r.issuer.signer()}}
	var out bytes.Buffer
	for _, v := range []any{r.key, *r.key, r.issuer, r.issuer.signer(), holder, &holder, []AgentKey{*r.key}, map[string]*AgentKey{"k": r.key}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewJSONHandler(&out, nil)).InfoContext(context.Background(), "k", "v", v)
		slog.New(slog.NewTextHandler(&out, nil)).InfoContext(context.Background(), "k", "v", v)
		if b, err := json.Marshal(v); err == nil {
			out.Write(b)
		}
	}
	for _, secret := range [][]byte{d, r.issuer.signer().secret()} {
		decimals := strings.Trim(fmt.Sprint(secret), "[]")
		for _, form := range []string{string(secret), b64.EncodeToString(secret), fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), decimals, strings.ReplaceAll(decimals, " ", ",")} {
			if strings.Contains(out.String(), form) {
				t.Errorf("a secret was printed as %s", form)
			}
		}
	}
	if !strings.Contains(out.String(), r.key.ID()) {
		t.Error("nothing was printed")
	}
}

// TestStandards holds the keys and tokens against independent
// implementations.
func TestStandards(t *testing.T) {
	i, err := OpenIssuer(t.TempDir(), "example.org", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	id, err := AgentID("example.org", "bot")
	if err != nil {
		t.Fatal(err)
	}
	svid, err := i.MintJWTSVID(id, "orders", MaxSVIDTTL, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := jwtbundle.Parse(spiffeid.RequireTrustDomainFromString("example.org"), i.JWKS())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := jwtsvid.ParseAndValidate(svid, bundle, []string{"orders"}); err != nil || got.ID.String() != id {
		t.Errorf("go-spiffe reads the SVID as %v, %v", got, err)
	}
	if _, err := i.MintJWTSVID("spiffe://evil.example/x", "a", time.Minute, time.Now()); err == nil {
		t.Error("an SVID of another trust domain is minted")
	}
	if _, err := i.MintJWTSVID(id, "a", MaxSVIDTTL+1, time.Now()); err == nil {
		t.Error("a long SVID is minted")
	}

	r := newRoom(t)
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(r.issuer.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	token, err := jose.ParseSignedCompact(r.token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := token.Verify(&set.Keys[0]); err != nil {
		t.Errorf("go-jose does not verify a task token: %v", err)
	}
	proof, err := jose.ParseSignedCompact(r.evidence(t, testNow).Proof, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	jwk := proof.Signatures[0].Header.JSONWebKey
	if _, err := proof.Verify(jwk); err != nil {
		t.Errorf("go-jose does not verify a proof: %v", err)
	}
	// RFC 8037 appendix A.3 and RFC 7515 A.3's key, whose thumbprints are
	// known from elsewhere.
	ed, ok := parseJWK(canon.MustParse(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`))
	if !ok || ed.thumbprint() != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Errorf("thumbprint %s", ed.thumbprint())
	}
	// RFC 8037 appendix A.4: an Ed25519 signature.
	j := jws{signed: "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc", header: canon.MustParse(`{"alg":"EdDSA"}`)}
	j.sig, _ = decodeB64("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
	if !ed.verify(j) {
		t.Error("the signature of RFC 8037 does not verify")
	}
	j.sig[0] ^= 1
	if ed.verify(j) {
		t.Error("a changed signature verifies")
	}
}
