package geo

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/consentgate/consentgate/internal/geo/geotest"
)

func open(t testing.TB, database []byte) *Database {
	t.Helper()
	d, err := Open(geotest.File(t, database))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// at is the place of an address, "" where it has none.
func at(d *Database, addr string) string {
	p, ok := d.Lookup(netip.MustParseAddr(addr))
	if !ok {
		return ""
	}
	return strings.TrimSpace(p.Country + " " + p.Area)
}

func TestAChangedFileIsReadAgain(t *testing.T) {
	path := geotest.File(t, geotest.Country(t))
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(says string, want bool, wantErr string) {
		t.Helper()
		changed, err := d.Reload()
		text := ""
		if err != nil {
			text = err.Error()
		}
		if changed != want || (wantErr == "") != (err == nil) || !strings.Contains(text, wantErr) {
			t.Errorf("%s: changed %v, error %q; want %v, %q", says, changed, text, want, wantErr)
		}
	}
	reload("the same file", false, "")
	if got := at(d, geotest.Guangzhou); got != "CN" {
		t.Errorf("a database of countries says %q", got)
	}
	geotest.Replace(t, path, geotest.City(t))
	reload("another file", true, "")
	if got := at(d, geotest.Guangzhou); got != "CN CN-GD" || d.Type() != "GeoLite2-City" {
		t.Errorf("%s says %q", d.Type(), got)
	}

	whole := geotest.City(t)
	for _, bad := range []struct {
		says    string
		content []byte
		want    string
	}{
		{"an empty file", nil, "no MaxMind DB file"},
		{"a web page", []byte("<html>quota exceeded</html>"), "no MaxMind DB file"},
		{"half a file", whole[:len(whole)/2], "no MaxMind DB file"},
		{"a database of something else", geotest.Build(t, "GeoLite2-ASN", map[string]geotest.Record{
			"203.0.113.0/24": {"autonomous_system_number": mmdbtype.Uint32(64500)},
		}), `says no countries (it is a "GeoLite2-ASN")`},
	} {
		geotest.Replace(t, path, bad.content)
		reload(bad.says, false, bad.want)
		reload(bad.says+", again", false, "")
		if got := at(d, geotest.Guangzhou); got != "CN CN-GD" {
			t.Errorf("after %s the old database says %q", bad.says, got)
		}
	}

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	reload("no file", false, "no such file")
	reload("no file, again", false, "")
	if got := at(d, geotest.Guangzhou); got != "CN CN-GD" {
		t.Errorf("without its file the database says %q", got)
	}
	geotest.Replace(t, path, geotest.Country(t))
	reload("a file again", true, "")

	// The same size, and the very same name and file: only the time differs.
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
	reload("a file that was touched", true, "")
}

func TestWhatIsNoDatabaseIsNotOpened(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ path, want string }{
		"a name of nothing": {filepath.Join(dir, "none.mmdb"), "no such file"},
		"a directory":       {dir, "is no file"},
		"another file":      {geotest.File(t, []byte("key: value\n")), "is no MaxMind DB file"},
	} {
		t.Run(name, func(t *testing.T) {
			if d, err := Open(c.path); err == nil || d != nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.path) {
				t.Errorf("got %v, %v, want %q and the file's name", d, err, c.want)
			}
		})
	}
}

// Under the race detector this shows that a database in use is never taken away.
func TestLookupsGoOnWhileTheDatabaseIsReplaced(t *testing.T) {
	path := geotest.File(t, geotest.City(t))
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if got := at(d, geotest.Guangzhou); got != "CN" && got != "CN CN-GD" {
					t.Errorf("in between it says %q", got)
					return
				}
			}
		})
	}
	databases := [][]byte{geotest.Country(t), geotest.City(t)}
	for n := range 50 {
		geotest.Replace(t, path, databases[n%2])
		if changed, err := d.Reload(); !changed || err != nil {
			t.Fatalf("reload %d: %v, %v", n, changed, err)
		}
	}
	close(done)
	readers.Wait()
}

// A file that is damaged, wherever that is, is refused or answers something; it
// takes down nothing and keeps nobody waiting.
func FuzzDamagedDatabase(f *testing.F) {
	whole := geotest.City(f)
	f.Add(uint32(0), []byte{}, uint32(0))
	f.Add(uint32(len(whole)-40), []byte{0xff, 0xff, 0xff, 0xff}, uint32(0))
	f.Add(uint32(len(whole)/3), []byte{0x20, 0, 0x20, 0}, uint32(0))
	f.Add(uint32(0), []byte{0xff, 0xff, 0xff}, uint32(20))
	addrs := []netip.Addr{
		netip.MustParseAddr(geotest.Guangzhou), netip.MustParseAddr(geotest.Shanghai), netip.MustParseAddr(geotest.NewYork),
		netip.MustParseAddr(geotest.UnitedStates), netip.MustParseAddr(geotest.Unknown), netip.MustParseAddr("::"),
	}
	f.Fuzz(func(t *testing.T, offset uint32, damage []byte, cut uint32) {
		content := append([]byte(nil), whole...)
		copy(content[int(offset)%len(content):], damage)
		content = content[:len(content)-int(cut)%len(content)]
		e, err := parse(content)
		if err != nil {
			return
		}
		d := &Database{}
		d.current.Store(e)
		for _, addr := range addrs {
			p, ok := d.Lookup(addr)
			if ok && !isCountry(p.Country) || !ok && p != (Place{}) {
				t.Errorf("%v is in %+v, %v", addr, p, ok)
			}
			if p.Area != "" && (!strings.HasPrefix(p.Area, p.Country+"-") || len(p.Area) > 6) {
				t.Errorf("%v is in the area %q", addr, p.Area)
			}
			if p.HasLocation && !(p.Latitude >= -90 && p.Latitude <= 90 && p.Longitude >= -180 && p.Longitude <= 180) {
				t.Errorf("%v is at %v, %v", addr, p.Latitude, p.Longitude)
			}
		}
	})
}

// The same of a file that is foreign as a whole.
func FuzzDatabase(f *testing.F) {
	f.Add(geotest.City(f))
	f.Add(geotest.Country(f))
	f.Add([]byte("\xab\xcd\xefMaxMind.com"))
	f.Fuzz(func(_ *testing.T, content []byte) {
		e, err := parse(content)
		if err != nil {
			return
		}
		d := &Database{}
		d.current.Store(e)
		d.Lookup(netip.MustParseAddr(geotest.Guangzhou))
		d.Lookup(netip.MustParseAddr(geotest.Shanghai))
	})
}

func BenchmarkLookup(b *testing.B) {
	d := open(b, geotest.City(b))
	addr := netip.MustParseAddr(geotest.Guangzhou)
	b.ReportAllocs()
	for b.Loop() {
		d.Lookup(addr)
	}
}

// A tree whose nodes lead back into it has more networks than can be counted.
func TestATreeWithoutEndIsNotWalked(t *testing.T) {
	for name, damage := range map[string]func(tree []byte, nodes int){
		"both ways to the next node": func(tree []byte, nodes int) {
			for n := range nodes {
				next := uint32(min(n+1, nodes))
				for _, at := range []int{6 * n, 6*n + 3} {
					tree[at], tree[at+1], tree[at+2] = byte(next>>16), byte(next>>8), byte(next)
				}
			}
		},
		"both ways to the first": func(tree []byte, nodes int) { clear(tree[:6*nodes]) },
	} {
		t.Run(name, func(t *testing.T) {
			content := geotest.City(t)
			whole, err := parse(append([]byte(nil), content...))
			if err != nil {
				t.Fatal(err)
			}
			damage(content, int(whole.reader.Metadata.NodeCount))
			if e, err := parse(content); err == nil {
				t.Errorf("taken as a %s", e.reader.Metadata.DatabaseType)
			}
		})
	}
}
