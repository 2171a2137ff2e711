package workload

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/sallyport-dev/sallyport"
)

// TaskID is the identity of one task of an agent, for the processes that work
// on it: the agent's SPIFFE ID with /task/ and the task's id after it.
func TaskID(agent string, task sallyport.ID) (spiffeid.ID, error) {
	id, err := spiffeid.FromString(agent)
	if err == nil && id.Path() != "" {
		if _, perr := sallyport.ParseID(sallyport.TaskID, string(task)); perr != nil {
			return spiffeid.ID{}, perr
		}
		id, err = id.AppendSegments("task", string(task))
	}
	if err != nil || id.Path() == "" {
		return spiffeid.ID{}, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_spiffe_id", Text: "the agent has no SPIFFE ID", Err: err}
	}
	return id, nil
}

// TaskServer is a Workload API for the processes of one task, on a socket
// that only their account can reach.
type TaskServer struct {
	server *Server
	dir    string
	served chan error
}

// ServeTask opens a Workload API that serves one identity to the descendants
// of a process of this account, the process itself included; 0 serves every
// process of the account. m signs; see Remote. The caller closes it when the
// task ends.
func ServeTask(id spiffeid.ID, ancestor int, m Mint) (*TaskServer, error) {
	dir, err := os.MkdirTemp("", "sallyport-task-") // mode 0700
	if err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EUnavailable, Code: "socket", Text: "no directory for a socket can be made", Err: err}
	}
	l, err := Listen(filepath.Join(dir, "spiffe.sock"), 0o600)
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	t := &TaskServer{dir: dir, served: make(chan error, 1), server: NewServer(ServerConfig{Mint: m, Identify: func(_ context.Context, p Peer) ([]Identity, error) {
		if int(p.UID) != os.Getuid() || ancestor != 0 && !descends(p.PID, ancestor) {
			return nil, nil
		}
		return []Identity{{ID: id}}, nil
	}})}
	go func() { t.served <- t.server.Serve(l) }()
	return t, nil
}

// Addr is what SPIFFE_ENDPOINT_SOCKET says.
func (t *TaskServer) Addr() string { return "unix://" + filepath.Join(t.dir, "spiffe.sock") }

// Close ends the service and removes the socket.
func (t *TaskServer) Close() error {
	t.server.Close()
	err := <-t.served
	if rerr := os.RemoveAll(t.dir); err == nil {
		err = rerr
	}
	return err
}

// descends reports whether a process is another or comes from it. A process
// whose parent has exited belongs to whoever adopted it.
func descends(pid int32, ancestor int) bool {
	p := int(pid)
	for range maxAncestors {
		if p <= 1 {
			return false
		}
		if p == ancestor {
			return true
		}
		f, err := os.Open("/proc/" + strconv.Itoa(p) + "/stat")
		if err != nil {
			return false
		}
		b, err := io.ReadAll(io.LimitReader(f, maxStat))
		f.Close()
		if err != nil {
			return false
		}
		if p, err = parentOf(b); err != nil {
			return false
		}
	}
	return false
}

// parentOf reads the parent's id of /proc/PID/stat (proc_pid_stat(5)): the
// second field after the last parenthesis. The name before it is the
// process's own choice, and may look like anything.
func parentOf(stat []byte) (int, error) {
	_, rest, ok := cutLast(stat, ')')
	f := bytes.Fields(rest)
	if !ok || len(f) < 2 || len(f[0]) != 1 {
		return 0, sallyport.Errorf(sallyport.EInvalid, "bad_stat", "the kernel's words on a process are not understood")
	}
	p, err := strconv.ParseUint(string(f[1]), 10, 31)
	return int(p), err
}

func cutLast(b []byte, sep byte) (before, after []byte, ok bool) {
	n := bytes.LastIndexByte(b, sep)
	if n < 0 {
		return b, nil, false
	}
	return b[:n], b[n+1:], true
}
