package mcp

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/gateway"
)

// childMain is the stdio server that tests run: this very program.
func childMain(mode string) {
	in := bufio.NewScanner(os.Stdin)
	var late []string
	say := func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
	for in.Scan() {
		m, err := canon.ParseMessage(in.Bytes(), canon.RequestLimits)
		if err != nil || !m.IsRequest() {
			if m.Method == "notifications/cancelled" {
				fmt.Fprintln(os.Stderr, "cancelled", string(m.Params.Canonical()))
			}
			continue
		}
		id := string(m.ID.Canonical())
		switch {
		case m.Method == "initialize":
			say(`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"c","version":"1"}}}`, id)
			continue
		case m.Method != "tools/call":
			say(`{"jsonrpc":"2.0","id":%s,"result":{"tools":[]}}`, id)
			continue
		}
		meta, _ := m.Params.Get("_meta")
		token, _ := meta.Get("progressToken")
		args, _ := m.Params.Get("arguments")
		switch mode {
		case "chatty": // says something of its own accord, then answers
			say(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"x:y"}}`)
			say(`{"jsonrpc":"2.0","id":%s,"result":{}}`, id)
		case "die":
			os.Exit(3)
		case "garbage":
			say("not JSON")
		case "hang":
			fmt.Fprintln(os.Stderr, "it hangs")
		case "environment":
			b, _ := json.Marshal(map[string]any{"env": os.Environ(), "pgid": syscall.Getpgrp(), "pid": os.Getpid()})
			say(`{"jsonrpc":"2.0","id":%s,"result":%s}`, id, b)
		case "tell":
			fmt.Fprintln(os.Stderr, "it is", os.Getenv("API_KEY"))
			say(`{"jsonrpc":"2.0","id":%s,"result":{}}`, id)
		case "spawn": // a grandchild that would live on
			c := exec.Command("sleep", "600")
			if err := c.Start(); err != nil {
				os.Exit(4)
			}
			say(`{"jsonrpc":"2.0","id":%s,"result":{"pid":%d}}`, id, c.Process.Pid)
		case "pairs": // answers come in the opposite order, after both asked
			say(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":1,"message":%s}}`, token.Canonical(), args.Canonical())
			late = append(late, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"echo":%s}}`, id, args.Canonical()))
			if len(late) == 2 {
				say("%s\n%s", late[1], late[0])
				late = nil
			}
		}
	}
}

func child0(t *testing.T, name, mode string) Server {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Server{Name: name, Command: []string{self}, Env: []string{"SALLYPORT_TEST_CHILD=" + mode, "GIVEN=yes"}, FirstByte: time.Minute}
}

func open(t *testing.T, endpoint string) string {
	t.Helper()
	resp, b := post(t, endpoint, initialize)
	id := resp.Header.Get("Mcp-Session-Id")
	if resp.StatusCode != 200 || id == "" {
		t.Fatalf("initialize: HTTP %d %s", resp.StatusCode, b)
	}
	post(t, endpoint, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, "Mcp-Session-Id", id)
	return id
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil && !zombie(pid) }

// zombie reports whether a process has ended and only waits to be reaped.
func zombie(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && strings.Contains(string(b), ") Z ")
}

func gone(t *testing.T, pid int) {
	t.Helper()
	for range 10_000 {
		if !alive(pid) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d lives on", pid)
}

func TestChildHasACleanEnvironment(t *testing.T) {
	t.Setenv("SALLYPORT_SECRET", "hunter2")
	_, base := serve(t, &fakeGate{}, nil, child0(t, "kid", "environment"))
	id := open(t, base+"/mcp/kid")
	_, b := post(t, base+"/mcp/kid", legacyCall, "Mcp-Session-Id", id)
	var m struct {
		Result struct {
			Env       []string
			Pgid, Pid int
		}
	}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatalf("%v %s", err, b)
	}
	names := map[string]string{}
	for _, e := range m.Result.Env {
		k, v, _ := strings.Cut(e, "=")
		names[k] = v
	}
	if len(names) != 5 || names["GIVEN"] != "yes" || names["PATH"] == "" || names["HOME"] == os.Getenv("HOME") || names["LANG"] == "" {
		t.Errorf("environment %v", names)
	}
	if m.Result.Pgid != m.Result.Pid {
		t.Errorf("the child %d is in the process group %d", m.Result.Pid, m.Result.Pgid)
	}
	// The end of the session is the end of the child and of its home.
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodDelete, base+"/mcp/kid", nil)
	if resp, _ := do(t, req, "Mcp-Session-Id", id); resp.StatusCode != 204 {
		t.Errorf("DELETE: %d", resp.StatusCode)
	}
	gone(t, m.Result.Pid)
	for range 10_000 {
		if _, err := os.Stat(names["HOME"]); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("its home was left behind")
}

func TestI9_TheEndOfATaskKillsItsChildren(t *testing.T) {
	o := newOffice(t)
	g := &fakeGate{verify: o.verify}
	_, base := serve(t, g, nil, child0(t, "kid", "spawn"))
	task, auth := o.task(t, base)
	send := func(body, session string) (*http.Response, []byte) {
		req, _ := http.NewRequestWithContext(t.Context(), "POST", base+"/mcp/kid", strings.NewReader(body))
		if err := auth(req); err != nil {
			t.Fatal(err)
		}
		return do(t, req, "Mcp-Session-Id", session)
	}
	resp, _ := send(initialize, "")
	_, b := send(legacyCall, resp.Header.Get("Mcp-Session-Id"))
	var m struct{ Result struct{ Pid int } }
	if err := json.Unmarshal(b, &m); err != nil || !alive(m.Result.Pid) {
		t.Fatalf("%v %s", err, b)
	}
	g.end(task)
	gone(t, m.Result.Pid)
}

func TestChildFailures(t *testing.T) {
	for mode, want := range map[string]string{"die": "upstream_closed", "garbage": "upstream_garbage", "hang": "upstream_timeout"} {
		t.Run(mode, func(t *testing.T) {
			g := &fakeGate{}
			s := child0(t, "kid", mode)
			if mode == "hang" {
				s.FirstByte = 10 * time.Second
			}
			_, base := serve(t, g, nil, s)
			id := open(t, base+"/mcp/kid")
			_, b := post(t, base+"/mcp/kid", legacyCall, "Mcp-Session-Id", id)
			_, outcomes := g.seen()
			if c := errorCode(b); c != CodeUpstream && c != CodeTimeout || len(outcomes) != 1 || outcomes[0].Status != gateway.OutcomeUnknown || outcomes[0].Code != want {
				t.Errorf("%s %+v", b, outcomes)
			}
			if mode == "hang" {
				return
			}
			// Nothing more is sent to a child that is gone.
			_, b = post(t, base+"/mcp/kid", strings.Replace(legacyCall, "5", "6", 1), "Mcp-Session-Id", id)
			_, outcomes = g.seen()
			if errorCode(b) != CodeUpstream || len(outcomes) != 2 || outcomes[1].Status != gateway.OutcomeNotSent {
				t.Errorf("again: %s %+v", b, outcomes)
			}
		})
	}
	s := Server{Name: "kid", Command: []string{"/does/not/exist"}}
	_, base := serve(t, &fakeGate{}, nil, s)
	if _, b := post(t, base+"/mcp/kid", initialize); errorCode(b) != CodeUpstream || !strings.Contains(string(b), "could not be started") {
		t.Errorf("%s", b)
	}
}

func TestClientsOfOneTaskDoNotMeetInTheirChild(t *testing.T) {
	_, base := serve(t, &fakeGate{}, nil, child0(t, "kid", "pairs"))
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			mine := fmt.Sprintf(`{"client":%d}`, i)
			body := strings.Replace(modernCall(mine), `"_meta":{`, `"_meta":{"progressToken":"same",`, 1)
			req, _ := http.NewRequestWithContext(t.Context(), "POST", base+"/mcp/kid", strings.NewReader(body))
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Accept", "application/json, text/event-stream")
			for j := 0; j < len(modernHeaders); j += 2 {
				req.Header.Set(modernHeaders[j], modernHeaders[j+1])
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			text := string(b)
			if !strings.Contains(text, `"id":1,"result":{"echo":`+mine+`}`) || !strings.Contains(text, `"progressToken":"same","progress":1,"message":`+mine) {
				t.Errorf("client %d got %s", i, text)
			}
			if strings.Count(text, "data: ") != 2 {
				t.Errorf("client %d got another's messages: %s", i, text)
			}
		}()
	}
	wg.Wait()
}
