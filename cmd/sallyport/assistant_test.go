package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/api"
	"github.com/sallyport-dev/sallyport/demo"
	"github.com/sallyport-dev/sallyport/identity"
)

func die(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitFailed)
	}
}

// dial opens a session at -url, or at the door that sallyport run opened.
func dial(args []string) (*demo.Client, []string) {
	f := flag.NewFlagSet("mcp", flag.ExitOnError)
	url := f.String("url", os.Getenv("SALLYPORT_MCP_URL"), "")
	die(f.Parse(args))
	c, err := demo.Dial(context.Background(), *url, http.DefaultClient)
	die(err)
	return c, f.Args()
}

// mcplist [-url URL] prints the names of the tools.
func mcplist() {
	c, _ := dial(os.Args[1:])
	names, err := c.Tools(context.Background())
	die(err)
	fmt.Println(strings.Join(names, "\n"))
}

// mcpcall [-url URL] TOOL [JSON] calls a tool and prints what comes back. Its
// exit codes are those of sallyport decide, and 0 for what was forwarded anyway.
func mcpcall() {
	c, args := dial(os.Args[1:])
	var a map[string]any
	if len(args) > 1 {
		die(json.Unmarshal([]byte(args[1]), &a))
	}
	r, err := c.Call(context.Background(), args[0], a)
	for try := 1; demo.Late(err) && try < 10; try++ {
		r, err = c.Call(context.Background(), args[0], a)
	}
	die(err)
	fmt.Println(r.Text)
	if r.IsError {
		os.Exit(map[string]int{"deny": exitDenied, "ask": exitPending, "": exitFailed}[r.Decision.Verdict])
	}
}

// mcppost sends raw bytes to the gateway with the token that sallyport task
// start --json printed, and a fresh proof of the agent's key. It prints the
// status, the headers that matter and the body.
func mcppost() {
	f := flag.NewFlagSet("mcppost", flag.ExitOnError)
	tokenFile := f.String("token", "token.json", "what task start --json printed")
	keyFile := f.String("key", "", "the agent's key")
	path := f.String("path", "", "what follows /mcp")
	none := f.Bool("anonymous", false, "send no token")
	forge := f.Bool("forge", false, "alter the token's signature")
	text := f.String("text", "", "the body, if no file is named")
	var headers []string
	f.Func("H", "NAME: VALUE", func(s string) error { headers = append(headers, s); return nil })
	die(f.Parse(os.Args[1:]))
	b, err := os.ReadFile(*tokenFile)
	die(err)
	var token api.Token
	die(json.Unmarshal(b, &token))
	body := []byte(*text)
	if f.NArg() > 0 {
		body, err = os.ReadFile(f.Arg(0))
		die(err)
	}
	req, err := http.NewRequest(http.MethodPost, token.MCP+*path, bytes.NewReader(body))
	die(err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		req.Header.Set(k, v)
	}
	if *forge {
		cut := strings.LastIndexByte(token.AccessToken, '.') + 1
		sig := []byte(token.AccessToken[cut:])
		sig[0] ^= 1
		token.AccessToken = token.AccessToken[:cut] + string(sig)
	}
	if !*none {
		key, err := identity.LoadAgentKey(*keyFile)
		die(err)
		proof, err := identity.Prove(key, req.Method, req.URL.String(), token.AccessToken, time.Now())
		die(err)
		req.Header.Set("Authorization", "DPoP "+token.AccessToken)
		req.Header.Set("DPoP", proof)
	}
	resp, err := http.DefaultClient.Do(req)
	die(err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	die(err)
	fmt.Println("HTTP", resp.StatusCode)
	for _, h := range []string{"WWW-Authenticate", "Content-Type", "Mcp-Session-Id"} {
		if v := resp.Header.Get(h); v != "" {
			fmt.Printf("%s: %s\n", h, v)
		}
	}
	fmt.Printf("%s\n", answer)
}
