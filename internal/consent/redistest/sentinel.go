package redistest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// StartSentinel starts a sentinel that looks after master under a name, and on
// its own word promotes a replica once master has been silent for half a second.
func StartSentinel(t testing.TB, name string, master *Server) *Server {
	t.Helper()
	s := &Server{t: t, dir: t.TempDir(), Addr: freeAddr(t, false)}
	host, port, _ := net.SplitHostPort(s.Addr)
	masterHost, masterPort, _ := net.SplitHostPort(master.Addr)
	conf := filepath.Join(s.dir, "sentinel.conf") // which the sentinel rewrites
	text := fmt.Sprintf(`bind %s
port %s
dir %s
logfile server.log
sentinel monitor %[4]s %s %s 1
sentinel down-after-milliseconds %[4]s 500
sentinel failover-timeout %[4]s 3000
`, host, port, s.dir, name, masterHost, masterPort)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.args = []string{conf, "--sentinel"}
	t.Cleanup(s.Stop)
	s.run()
	return s
}
