// Package redistest starts real Redis servers for tests, each with a directory
// of its own, and does to them what happens to servers: it kills, stops, resumes
// and restarts them.
package redistest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Server is one redis-server process. It ends with the test.
type Server struct {
	Addr string // HOST:PORT on the loopback interface

	t    testing.TB
	dir  string
	args []string
	cmd  *exec.Cmd
	done chan error // the end of the process
}

// Start starts a server that appends every write to its file and syncs it before
// it answers. More configuration, in pairs of a directive and its value, comes
// after that. A machine without redis-server fails the test.
func Start(t testing.TB, config ...string) *Server {
	t.Helper()
	if len(config)%2 != 0 {
		t.Fatal("redistest: a directive without a value")
	}
	s := &Server{t: t, dir: t.TempDir()}
	s.Addr = freeAddr(t, strings.Contains(strings.Join(config, " "), "cluster-enabled yes"))
	host, port, _ := net.SplitHostPort(s.Addr)
	s.args = []string{
		"--bind", host, "--port", port, "--dir", s.dir, "--logfile", "server.log", "--daemonize", "no",
		"--save", "", "--appendonly", "yes", "--appendfsync", "always", "--enable-debug-command", "yes",
	}
	for i := 0; i < len(config); i += 2 {
		s.args = append(s.args, "--"+config[i], config[i+1])
	}
	t.Cleanup(s.Stop)
	s.run()
	return s
}

// Stop kills the server, as SIGKILL or a power cut would.
func (s *Server) Stop() { s.signal(syscall.SIGKILL) }

// Restart starts the server again, on the same address and files, after Stop.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.run()
}

// Pause halts the server without closing its connections, as a machine that
// hangs does.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Errorf("redistest: %v: %v", sig, err)
	}
	if sig == syscall.SIGKILL {
		<-s.done //nolint:errcheck // it was killed, and that is its error
		s.cmd = nil
	}
}

func (s *Server) run() {
	s.t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		s.t.Fatal("these tests need redis-server, of Redis 7.0 or newer, in the PATH")
	}
	s.cmd = exec.Command(path, s.args...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("redistest: starting redis-server: %v", err)
	}
	done := make(chan error, 1)
	s.done = done
	cmd := s.cmd
	go func() { done <- cmd.Wait() }()

	deadline := time.After(10 * time.Second)
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for !s.answers() {
		select {
		case <-look.C:
		case err := <-done:
			s.cmd = nil
			s.t.Fatalf("redistest: redis-server ended: %v\n%s", err, s.log())
		case <-deadline:
			s.t.Fatalf("redistest: redis-server does not answer\n%s", s.log())
		}
	}
}

// answers reports whether the server takes commands, be it to ask for a
// password. A server that still reads its files does not.
func (s *Server) answers() bool {
	conn, err := net.DialTimeout("tcp", s.Addr, 20*time.Millisecond)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	fmt.Fprint(conn, "PING\r\n")
	line, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && (strings.HasPrefix(line, "+PONG") || strings.HasPrefix(line, "-NOAUTH"))
}

func (s *Server) log() string {
	b, _ := os.ReadFile(filepath.Join(s.dir, "server.log"))
	return string(b)
}

// freeAddr finds a port that nobody listens on. A node of a cluster also takes
// the port 10000 above.
func freeAddr(t testing.TB, cluster bool) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().(*net.TCPAddr)
		l.Close()
		if !cluster {
			return addr.String()
		}
		if addr.Port > 55535 {
			continue
		}
		bus, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", addr.Port+10000))
		if err == nil {
			bus.Close()
			return addr.String()
		}
	}
	t.Fatal("redistest: no free port")
	return ""
}

// StartCluster starts n masters that share the slots among them, and waits until
// all of them agree on that.
func StartCluster(t testing.TB, n int) []*Server {
	t.Helper()
	servers := make([]*Server, n)
	args := []string{"--cluster", "create"}
	for i := range servers {
		servers[i] = Start(t, "cluster-enabled", "yes", "cluster-node-timeout", "2000")
		args = append(args, servers[i].Addr)
	}
	cli, err := exec.LookPath("redis-cli")
	if err != nil {
		t.Fatal("these tests need redis-cli, of Redis 7.0 or newer, in the PATH")
	}
	if out, err := exec.Command(cli, append(args, "--cluster-replicas", "0", "--cluster-yes")...).CombinedOutput(); err != nil {
		t.Fatalf("redistest: making a cluster: %v\n%s", err, out)
	}
	deadline := time.Now().Add(20 * time.Second)
	for _, s := range servers {
		host, port, _ := net.SplitHostPort(s.Addr)
		for {
			out, _ := exec.Command(cli, "-h", host, "-p", port, "cluster", "info").CombinedOutput()
			if strings.Contains(string(out), "cluster_state:ok") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("redistest: the cluster does not come up\n%s", out)
			}
		}
	}
	return servers
}
