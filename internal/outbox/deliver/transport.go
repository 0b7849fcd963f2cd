package deliver

import (
	"crypto/tls"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/consentgate/consentgate/internal/outbox"
)

// TransportOptions are how connections to a partner are made.
type TransportOptions struct {
	// Control is asked before each connection, with the address that a name was
	// resolved to, and may refuse it: see net.Dialer. With a proxy, that is the
	// proxy's address.
	Control func(network, address string, c syscall.RawConn) error
	// TLS has roots or client certificates of one's own. What is below TLS 1.2
	// is never spoken.
	TLS *tls.Config
	// EnvironmentProxy makes HTTPS_PROXY and its like count.
	EnvironmentProxy bool
}

// Transport makes the transport of one partner: few connections, no proxy unless
// asked for, and no header of its own.
func Transport(o TransportOptions) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	if control := o.Control; control != nil {
		dialer.Control = func(network, address string, c syscall.RawConn) error {
			if err := control(network, address, c); err != nil {
				return &addressError{err}
			}
			return nil
		}
	}
	config := o.TLS.Clone()
	if config == nil {
		config = &tls.Config{}
	}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	t := &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // Accept-Encoding says more than is needed
		MaxIdleConns:           4 * outbox.Partitions,
		MaxIdleConnsPerHost:    outbox.Partitions,
		MaxConnsPerHost:        2 * outbox.Partitions,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
		// One connection carries all, and a dead one is else not noticed until
		// TCP gives up.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
	}
	if o.EnvironmentProxy {
		t.Proxy = http.ProxyFromEnvironment
	}
	return t
}

// addressError is that Control refused an address.
type addressError struct{ error }

func (e *addressError) Unwrap() error { return e.error }
