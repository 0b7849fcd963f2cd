package geo

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

// MaxSize bounds the file of a database, in bytes. The largest ones that are
// sold have some 200 MB.
const MaxSize = 1 << 30

// Database is a GeoIP database in memory. It is safe for concurrent use, and a
// nil one knows no address.
type Database struct {
	path    string
	current atomic.Pointer[edition]

	mu   sync.Mutex  // guards seen, and lets one Reload run at a time
	seen os.FileInfo // of the file that was read last, good or bad; nil: there was none
}

// edition is one file's content. Whoever looks something up keeps the edition
// that it began with: nothing is ever closed, the collector takes the old one.
type edition struct {
	reader *maxminddb.Reader
	layout layout
}

// Open reads a database. Its error says what is wrong with the file and which
// files will do.
func Open(path string) (*Database, error) {
	d := &Database{path: path}
	if _, err := d.Reload(); err != nil {
		return nil, err
	}
	return d, nil
}

// Path returns the name of the file, as it was given.
func (d *Database) Path() string { return d.path }

// Type returns what the database calls itself, such as "GeoLite2-City".
func (d *Database) Type() string { return d.current.Load().reader.Metadata.DatabaseType }

// Built returns when the database was made.
func (d *Database) Built() time.Time { return d.current.Load().reader.Metadata.BuildTime() }

// Reload reads the file again if it is another one than was read last, by its
// time of change, its size, or because it was replaced. It returns whether a
// new content is in use. With an error the old one stays in use, and the same
// file is not tried again: each change is told once.
//
// A file that is being written is bad for that long. Whoever replaces it by
// renaming, as geoipupdate does, is never caught at it.
func (d *Database) Reload() (changed bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	// The name is looked up before the content is read: a change in between is
	// seen by the next call.
	now, err := os.Stat(d.path)
	if err != nil {
		first := d.seen != nil || d.current.Load() == nil
		d.seen = nil
		if !first {
			return false, nil
		}
		return false, fmt.Errorf("the GeoIP database: %w", err)
	}
	if d.seen != nil && os.SameFile(d.seen, now) && d.seen.Size() == now.Size() && d.seen.ModTime().Equal(now.ModTime()) {
		return false, nil
	}
	d.seen = now
	e, err := d.read()
	if err != nil {
		return false, fmt.Errorf("the GeoIP database %s: %w", d.path, err)
	}
	d.current.Store(e)
	return true, nil
}

// read reads the file whole. A mapped one would fault when somebody cuts it.
func (d *Database) read() (*edition, error) {
	if !d.seen.Mode().IsRegular() {
		return nil, errors.New("is no file; name one that ends in .mmdb")
	}
	f, err := os.Open(d.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if d.seen, err = f.Stat(); err != nil {
		return nil, err
	}
	size := d.seen.Size()
	if size > MaxSize {
		return nil, fmt.Errorf("has %d bytes, more than the %d that are read", size, MaxSize)
	}
	content := make([]byte, size)
	if _, err := io.ReadFull(f, content); err != nil {
		return nil, fmt.Errorf("cannot be read whole: %w", err)
	}
	return parse(content)
}

// parse makes an edition of a file's content. It looks into the content far
// enough to tell a database of places from others of the same format.
func parse(content []byte) (e *edition, err error) {
	defer func() {
		if recover() != nil { // the format is foreign, and so is its reader
			e, err = nil, errDamaged
		}
	}()
	reader, err := maxminddb.OpenBytes(content)
	if err != nil {
		return nil, fmt.Errorf("is no MaxMind DB file, or not all of one: %w", err)
	}
	layout, err := layoutOf(reader)
	if err != nil {
		return nil, err
	}
	return &edition{reader, layout}, nil
}

var errDamaged = errors.New("is damaged; fetch it again")
