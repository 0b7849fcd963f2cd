package geo

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/consentgate/consentgate/internal/geo/geotest"
)

func TestCheck(t *testing.T) {
	d := open(t, geotest.City(t))
	office := geotest.Cities()
	office["10.0.0.0/8"] = geotest.CityRecord("US", "", "", nil)
	own := open(t, geotest.Build(t, "own", office))
	for _, c := range []struct {
		says    string
		in      *Database
		country string
		addr    string
		want    string // the country in the error; "?": unknown; "": none
	}{
		{"an address at home passes", d, "", geotest.Guangzhou, ""},
		{"one in the declared country passes", d, "US", geotest.NewYork, ""},
		{"a recipient abroad may answer at home", d, "US", geotest.Guangzhou, ""},
		{"one abroad, of a recipient at home, is refused", d, "CN", geotest.NewYork, "US"},
		{"also of one that declares nothing", d, "", geotest.NewYork, "US"},
		{"and in a third country", d, "SG", geotest.NewYork, "US"},
		{"also in IPv6", d, "CN", geotest.UnitedStates, "US"},
		{"also mapped", d, "CN", "::ffff:" + geotest.NewYork, "US"},
		{"a public address that is not in the database is refused", d, "CN", geotest.Unknown, "?"},
		{"an empty country declared is no match for an unknown one", d, "", geotest.Nowhere, "?"},
		{"a private one is the operator's own", d, "CN", "10.0.0.1", ""},
		{"a loopback one too", d, "CN", "127.0.0.1", ""},
		{"unless the database says otherwise", own, "CN", "10.0.0.1", "US"},
		{"without a database everything passes", nil, "CN", geotest.NewYork, ""},
	} {
		t.Run(c.says, func(t *testing.T) {
			err := c.in.Check(Border{Recipient: "adx", Home: []string{"CN"}, Country: c.country}, netip.MustParseAddr(c.addr))
			if c.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			var border *BorderError
			if !errors.As(err, &border) {
				t.Fatalf("error %v", err)
			}
			if border.Recipient != "adx" || border.Country != strings.Trim(c.want, "?") {
				t.Errorf("error %+v", border)
			}
			if text := err.Error(); !strings.Contains(text, "adx") || !strings.Contains(text, border.Country) || strings.Contains(text, c.addr) {
				t.Errorf("error %q", text)
			}
		})
	}
}

// A real client against a real server, whose loopback address a database of the
// test's own puts abroad.
func TestDialControl(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	t.Cleanup(server.Close)
	records := geotest.Cities()
	records["127.0.0.0/8"] = geotest.CityRecord("US", "", "", nil)
	abroad := open(t, geotest.Build(t, "own", records))
	for _, c := range []struct {
		says    string
		in      *Database
		country string
		refused bool
	}{
		{"to the declared country", abroad, "US", false},
		{"to another", abroad, "CN", true},
		{"within the operator's network", open(t, geotest.City(t)), "CN", false},
		{"without a database", nil, "CN", false},
	} {
		t.Run(c.says, func(t *testing.T) {
			dialer := &net.Dialer{ControlContext: c.in.DialControl(Border{"adx", []string{"CN"}, c.country})}
			client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
			res, err := client.Get(server.URL)
			if err == nil {
				res.Body.Close()
			}
			var border *BorderError
			if errors.As(err, &border) != c.refused || (err != nil) != c.refused {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestDialControlRefusesWhatIsNoAddress(t *testing.T) {
	control := open(t, geotest.City(t)).DialControl(Border{"adx", []string{"CN"}, ""})
	for _, address := range []string{"", "partner.example:443", "203.0.113.77"} {
		if err := control(context.Background(), "tcp", address, nil); err == nil || strings.Contains(err.Error(), "partner") {
			t.Errorf("%q: error %v", address, err)
		}
	}
	if err := control(context.Background(), "unix", "/run/partner.sock", nil); err != nil {
		t.Errorf("a Unix socket: %v", err)
	}
}
