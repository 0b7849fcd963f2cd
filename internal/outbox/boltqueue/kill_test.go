package boltqueue

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/consentgate/consentgate/internal/outbox/queuetest"
)

// childFile, when set to "ROUND PATH", makes the test binary a process that
// works on that queue until it is killed.
const childFile = "CONSENT_BOLTQUEUE_TEST_FILE"

func TestMain(m *testing.M) {
	if round, path, is := strings.Cut(os.Getenv(childFile), " "); is {
		q, err := Open(path, Options{})
		if err != nil {
			panic(err)
		}
		n, err := strconv.Atoi(round)
		if err != nil {
			panic(err)
		}
		queuetest.Child(q, n)
	}
	os.Exit(m.Run())
}

func TestAKillLosesAndReordersNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "outbox.db")
	queuetest.Kill(t, func(round int) *exec.Cmd {
		return queuetest.Self(t, childFile, fmt.Sprintf("%d %s", round, path))
	}, place{path: path})
}
