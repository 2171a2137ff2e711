package oauth

import (
	"context"
	neturl "net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/rate"
)

// documents fetches client ID metadata documents
// (draft-ietf-oauth-client-id-metadata-document) and JWK sets, and keeps them
// for a while. A document that cannot be fetched again counts for an hour from
// when it was last seen; one that says something else now counts at once.
type documents struct {
	fetch  func(ctx context.Context, url string) ([]byte, error)
	flight singleflight.Group
	slots  chan struct{}
	hosts  *rate.Buckets // nobody is to be flooded through this server
	askers *rate.Buckets // nor is one address to take all the slots

	mu   sync.Mutex
	kept map[string]document // by kind and URL
}

type document struct {
	value   any
	err     error
	fetched time.Time // when value was read; zero if it never was
	next    time.Time // when to look again
}

func newDocuments(fetch func(ctx context.Context, url string) ([]byte, error)) *documents {
	return &documents{fetch: fetch, slots: make(chan struct{}, maxFetchers), hosts: rate.New(fetchesPerMinute, fetchesPerMinute, maxBuckets), askers: rate.New(askedPerMinute, askedPerMinute, maxBuckets), kept: map[string]document{}}
}

// get returns the client whose id is a URL.
func (d *documents) get(ctx context.Context, id string, now time.Time) (*client, error) {
	u, err := documentURL(id)
	if err != nil {
		return nil, err
	}
	v, err := d.load(ctx, "client ", id, now, func(text []byte) (any, error) {
		c, err := parseDocument(id, text)
		if err != nil {
			return nil, err
		}
		c.document = u.Host
		return c, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*client), nil
}

// documentURL checks a client id that is a URL: https, with a path, and
// nothing in it that could be read in two ways.
func documentURL(id string) (*neturl.URL, error) {
	u, ok := redirectURI(id)
	if !ok || u.Scheme != "https" || u.Path == "" || u.Path == "/" || u.RawQuery != "" || strings.Contains(id, "?") || dotted(u.EscapedPath()) {
		return nil, refuse("invalid_client", "a client_id that is a URL is https, has a path, and no dot segments, query, fragment or user name")
	}
	return u, nil
}

func dotted(path string) bool {
	for _, p := range strings.Split(strings.ReplaceAll(strings.ToLower(path), "%2e", "."), "/") {
		if p == "." || p == ".." {
			return true
		}
	}
	return false
}

// parseDocument reads the metadata document at the URL id.
func parseDocument(id string, text []byte) (*client, error) {
	c, err := parseClient(text, maxDocument)
	if err != nil {
		return nil, err
	}
	v, err := canon.Parse(text, canon.RequestLimits)
	if err != nil {
		return nil, as("invalid_client_metadata", err)
	}
	if got, _ := v.Get("client_id"); got.Kind() != canon.String || got.Text() != id {
		return nil, refuse("invalid_client", "the document at the client_id names another client_id")
	}
	switch c.method {
	case "none":
	case "private_key_jwt":
		if c.jwks == nil && c.jwksURI == "" {
			return nil, refuse("invalid_client_metadata", "a client that signs has jwks or jwks_uri")
		}
	default:
		return nil, refuse("invalid_client_metadata", "token_endpoint_auth_method must be none or private_key_jwt: no client of this server has a shared secret")
	}
	c.id, c.stable = id, id
	return c, nil
}

// load returns what read makes of the text at a URL, from memory while it is
// fresh. One fetch serves all who wait for the same.
func (d *documents) load(ctx context.Context, kind, url string, now time.Time, read func([]byte) (any, error)) (any, error) {
	key := kind + url
	d.mu.Lock()
	kept, ok := d.kept[key]
	d.mu.Unlock()
	if ok && now.Before(kept.next) {
		return kept.value, kept.err
	}
	if d.fetch == nil {
		return nil, refuse("invalid_client", "this server fetches no documents of clients")
	}
	// The last known one counts for a while, whatever keeps from fetching it:
	// strangers must not shut a client out by asking for others.
	stale := ok && kept.err == nil && now.Sub(kept.fetched) < documentStale
	if from, _ := ctx.Value(addressKey{}).(string); !stale && !d.askers.Take(from, now) {
		return nil, busy("too many unknown clients are named from your address")
	}
	// Who waits may go away; the fetch goes on for the others.
	ch := d.flight.DoChan(key, func() (any, error) {
		text, err := d.fetchOne(context.WithoutCancel(ctx), url, now)
		if err != nil && stale {
			kept.next = now.Add(documentFailed)
			d.keep(key, kept, now)
			return kept.value, nil
		}
		if sallyport.KindOf(err) == sallyport.EExhausted {
			return nil, err // it was not asked for
		}
		if err != nil {
			err = refuse("invalid_client", "the document at %s cannot be fetched", clip(url))
			d.keep(key, document{err: err, next: now.Add(documentFailed)}, now)
			return nil, err
		}
		v, err := read(text)
		next := document{value: v, err: err, fetched: now, next: now.Add(documentFresh)}
		if err != nil {
			next = document{err: err, next: now.Add(documentFailed)}
		}
		d.keep(key, next, now)
		return v, err
	})
	select {
	case r := <-ch:
		return r.Val, r.Err
	case <-ctx.Done():
		return nil, refuse("temporarily_unavailable", "the document of the client was not fetched in time")
	}
}

// busy refuses what may be asked again in a minute.
func busy(text string) error {
	return &fault{"temporarily_unavailable", &sallyport.Error{Kind: sallyport.EExhausted, Code: "rate", Text: text, Fix: "try again in a minute"}}
}

// fetchOne fetches within the bounds; beyond one the error is EExhausted.
func (d *documents) fetchOne(ctx context.Context, url string, now time.Time) ([]byte, error) {
	u, err := neturl.Parse(url)
	if err != nil || !d.hosts.Take(u.Host, now) {
		return nil, busy("too many documents are asked for from that host")
	}
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	default:
		return nil, busy("too many documents of clients are being fetched")
	}
	ctx, stop := context.WithTimeout(ctx, fetchTimeout)
	defer stop()
	return d.fetch(ctx, url)
}

// keep remembers a document. At the bound, what is due for another look goes
// first, and if nothing is, everything: it costs one more fetch for each.
func (d *documents) keep(key string, doc document, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.kept[key]; !ok && len(d.kept) >= maxDocuments {
		for k, v := range d.kept {
			if !now.Before(v.next) {
				delete(d.kept, k)
			}
		}
		if len(d.kept) >= maxDocuments {
			clear(d.kept)
		}
	}
	d.kept[key] = doc
}
