package main

import (
	"context"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/api"
)

// connectTimeout is how long a person may take to say yes.
const connectTimeout = 10 * time.Minute

// connectCommands connect a person to a server that the gateway calls for
// them: connect, disconnect and connections, below secrets.
func connectCommands(e *env) []*cobra.Command {
	var user, from string
	var force, all bool
	connect := &cobra.Command{
		Use: "connect NAME", Short: "Let the gateway act for you at a server", Args: cobra.ExactArgs(1),
		Long: `Connect opens a browser at the authorization server of the entry NAME under
leases. What you allow there goes to the gateway, which keeps it sealed: this
program sees no token. Then tasks of yours, and nobody else's, may use it.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), connectTimeout)
			defer cancel()
			c, err := e.client()
			if err != nil {
				return err
			}
			done, err := e.connect(ctx, c, args[0], user)
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(done)
			}
			fmt.Fprintf(e.stdout, "%s is connected to %s\n  end it with: sallyport secrets disconnect %s\n", done.User, done.Source, done.Source)
			return nil
		},
	}
	connect.Flags().StringVar(&user, "user", "", "connect another user, as an operator (default you)")
	disconnect := &cobra.Command{
		Use: "disconnect NAME", Short: "End what connect began: revoked there, forgotten here", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.client()
			if err != nil {
				return err
			}
			d, err := c.Disconnect(cmd.Context(), args[0], from, force)
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(d)
			}
			fmt.Fprintf(e.stdout, "%s is no longer connected to %s\n", d.User, d.Source)
			if !d.Revoked {
				fmt.Fprintln(e.stdout, "  the authorization server was not told: take the permission away there as well")
			}
			return nil
		},
	}
	disconnect.Flags().StringVar(&from, "user", "", "disconnect another user, as an operator (default you)")
	disconnect.Flags().BoolVar(&force, "force", false, "forget it even if the server cannot be told")
	list := &cobra.Command{
		Use: "connections", Short: "Where the gateway may act for you", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.client()
			if err != nil {
				return err
			}
			cs, err := c.Connections(cmd.Context(), all)
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(cs)
			}
			var rows [][]string
			for _, o := range cs {
				rows = append(rows, []string{o.Source, o.User, ago(o.Stored)})
			}
			e.table("NAME USER STORED", rows)
			return nil
		},
	}
	list.Flags().BoolVar(&all, "all", false, "everybody's, as an operator")
	return []*cobra.Command{connect, disconnect, list}
}

// connect is the browser's way: there with what the gateway says, back to a
// port of this machine (RFC 8252 section 7.3), and on to the gateway.
func (e *env) connect(ctx context.Context, c *api.Client, source, user string) (api.Connection, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return api.Connection{}, err
	}
	defer listener.Close()
	begun, err := c.Connect(ctx, api.Connect{Source: source, RedirectURI: "http://" + listener.Addr().String() + "/callback", User: user})
	if err != nil {
		return api.Connection{}, err
	}
	page, err := url.Parse(begun.URL)
	if err != nil || page.Scheme != "https" && !(page.Scheme == "http" && loopback(page.Hostname())) {
		return api.Connection{}, sallyport.Errorf(sallyport.EInternal, "bad_answer", "the gateway names no page that a browser can be sent to")
	}
	fmt.Fprintf(e.stderr, "say yes here, as %s:\n  %s\n", begun.User, page)
	got := make(chan url.Values, 1)
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 32 << 10, Handler: callback(page.Query().Get("state"), got)}
	go func() { _ = srv.Serve(listener) }() // ends with Shutdown
	defer func() {
		// The page is still on its way.
		c, stop := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer stop()
		_ = srv.Shutdown(c)
	}()
	if hasBrowser() {
		openBrowser(page.String())
	}
	select {
	case q := <-got:
		return c.Connected(ctx, begun.Handle, api.ConnectAnswer{
			Code: q.Get("code"), State: q.Get("state"), Issuer: q.Get("iss"), Error: q.Get("error"), Description: q.Get("error_description"), User: user,
		})
	case <-ctx.Done():
		return api.Connection{}, sallyport.Errorf(sallyport.EUnavailable, "connect_timeout", "nobody said yes")
	}
}

// callback takes the one answer to a state; whatever else knocks changes
// nothing.
func callback(state string, got chan<- url.Values) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.Method != http.MethodGet || r.URL.Path != "/callback" || state == "" || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(state)) != 1 {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Referrer-Policy", "no-referrer")
		fmt.Fprintln(w, "You can close this page and go back to the terminal.")
		select {
		case got <- q:
		default: // only the first counts
		}
	})
}
