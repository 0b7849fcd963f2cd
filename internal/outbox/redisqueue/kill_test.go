package redisqueue

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/consent/redisstore"
	"github.com/consentgate/consentgate/internal/consent/redistest"
	"github.com/consentgate/consentgate/internal/outbox/queuetest"
)

// childAddr, when set to "ROUND ADDRESS", makes the test binary a gateway that
// works on that server until it is killed.
const childAddr = "CONSENT_REDISQUEUE_TEST_ADDR"

// short leases end soon after a consumer was killed.
var short = Options{LeaseLife: 400 * time.Millisecond, LeaseRetry: 20 * time.Millisecond}

func TestMain(m *testing.M) {
	if round, addr, is := strings.Cut(os.Getenv(childAddr), " "); is {
		client, err := redisstore.NewClient(redisstore.Config{Addresses: []string{addr}})
		if err != nil {
			panic(err)
		}
		n, err := strconv.Atoi(round)
		if err != nil {
			panic(err)
		}
		queuetest.Child(New(client, short), n)
	}
	os.Exit(m.Run())
}

func TestAKillOfAConsumerLosesAndReordersNothing(t *testing.T) {
	srv := redistest.Start(t)
	queuetest.Kill(t, func(round int) *exec.Cmd {
		return queuetest.Self(t, childAddr, fmt.Sprintf("%d %s", round, srv.Addr))
	}, place{config: redisstore.Config{Addresses: []string{srv.Addr}}, opts: short})
}
