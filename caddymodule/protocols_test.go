package caddymodule

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// selfSigned writes a certificate for localhost and its key into dir.
func selfSigned(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, b := range map[string][]byte{"cert.pem": certPEM, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return pool
}

// The gate reads a request the same way whichever HTTP it comes by.
func TestEveryHTTP(t *testing.T) {
	dir := t.TempDir()
	pool := selfSigned(t, dir)
	caddyfile := "{\n\tauto_https off\n\tskip_install_trust\n\tconsent {\n\t\tpolicy liaoxiaobang\n\t\t" + embedded + "\n\t}\n}\nhttps://localhost:@PORT@ {\n\ttls " +
		filepath.Join(dir, "cert.pem") + " " + filepath.Join(dir, "key.pem") + "\n\thandle /v1/* {\n\t\tconsent_gate backend\n\t\treverse_proxy @UPSTREAM@\n\t}\n}\n"
	s := startCaddy(t, caddyfile)
	_, port, _ := net.SplitHostPort(s.Addr)
	config := &tls.Config{RootCAs: pool, ServerName: "localhost"}
	protocols := func(h2 bool) *http.Protocols {
		p := new(http.Protocols)
		p.SetHTTP1(!h2)
		p.SetHTTP2(h2)
		return p
	}
	h3 := &http3.Transport{TLSClientConfig: config.Clone()}
	defer h3.Close()
	for name, rt := range map[string]http.RoundTripper{
		"HTTP/1.1": &http.Transport{TLSClientConfig: config.Clone(), Protocols: protocols(false), DisableKeepAlives: true},
		"HTTP/2.0": &http.Transport{TLSClientConfig: config.Clone(), Protocols: protocols(true), DisableKeepAlives: true},
		"HTTP/3.0": h3,
	} {
		t.Run(name, func(t *testing.T) {
			send := func(method, contentType, body string) (int, string) {
				t.Helper()
				s.upstream.forget()
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				defer cancel()
				// A body of no known length is chunked, or the like.
				req, err := http.NewRequestWithContext(ctx, method, "https://localhost:"+port+"/v1/a?imei="+canaryIMEI+"&x=1", io.MultiReader(strings.NewReader(body)))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", contentType)
				req.Header.Set("X-Imei", canaryIMEI)
				req.Trailer = http.Header{"X-Mac": {canaryMAC}}
				res, err := rt.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				if res.Proto != name {
					t.Errorf("by %s", res.Proto)
				}
				answer, err := io.ReadAll(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				return res.StatusCode, string(answer)
			}
			for _, tt := range []struct{ contentType, body, want string }{
				{"application/json", `{"imei":"` + canaryIMEI + `","n":1}`, `{"n":1}`},
				{"application/x-ndjson", `{"imei":"` + canaryIMEI + `","n":1}` + "\n" + `{"n":2}`, `{"n":1}` + "\n" + `{"n":2}`},
				{"application/x-www-form-urlencoded", "imei=" + canaryIMEI + "&n=1", "n=1"},
			} {
				if status, answer := send("POST", tt.contentType, tt.body); status != 200 {
					t.Fatalf("%d %s", status, answer)
				}
				got := s.upstream.last(t)
				if string(got.Body) != tt.want || leaks(string(got.Raw)) != nil || len(got.Trailer) > 0 || !strings.Contains(got.Line, "?x=1 ") {
					t.Errorf("of %s arrived\n%s", tt.contentType, got.Raw)
				}
			}
			if status, answer := send("POST", "application/json", `{"imei":`); status != 400 || len(s.upstream.requests()) > 0 {
				t.Errorf("%d %s", status, answer)
			}
		})
	}
}

// A client that waits for the word to go on gets it, and one whose body is too
// long is refused before it sends any.
func TestExpectContinue(t *testing.T) {
	s := startCaddy(t, gateCaddyfile(embedded, "backend", "max_body 1KiB", ""))
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	head := "POST /v1/a HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: "
	body := `{"imei":"` + canaryIMEI + `","n":1}`
	fmt.Fprintf(conn, "%s%d\r\n\r\n", head, len(body))
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		t.Fatalf("%q %v", line, err)
	}
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, body)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	if got := s.upstream.last(t); string(got.Body) != `{"n":1}` {
		t.Errorf("%s arrived", got.Body)
	}
	s.upstream.forget()
	fmt.Fprintf(conn, "%s%d\r\n\r\n", head, 1<<20)
	res, err = http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != 413 {
		t.Fatalf("%v %v", res, err)
	}
	if b, _ := io.ReadAll(res.Body); !bytes.Contains(b, []byte("body-too-large")) || len(s.upstream.requests()) > 0 {
		t.Errorf("%s", b)
	}
}
