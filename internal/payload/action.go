package payload

import "time"

// Category is the number of a category of personal data in a compiled policy.
type Category uint16

// Class is an interned set of categories. A key or a path that several
// categories claim gets one class, decided when the matcher is compiled, so
// that scanning compares numbers only. Class 0 is the empty set.
type Class uint16

// Op is what happens to a value. A greater Op is a stricter one.
type Op uint8

// The operations, from the most lenient to the strictest.
const (
	Pass      Op = iota // the value goes as it came
	Transform           // the value is de-identified
	Null                // the value becomes null
	Drop                // the value goes, with its key
	Block               // the whole record is refused
)

func (o Op) String() string {
	switch o {
	case Pass:
		return "pass"
	case Transform:
		return "transform"
	case Null:
		return "null"
	case Drop:
		return "drop"
	case Block:
		return "block"
	}
	return "invalid"
}

// Kind is the JSON type of a scalar.
type Kind uint8

// The kinds of scalars.
const (
	String Kind = iota
	Number
	Bool
	NullValue
)

// Params is what a transform may know of the record at hand.
type Params struct {
	Now time.Time
	// Key is the secret that belongs to this recipient and this subject
	// alone. Without one (no subject, no salt) no pseudonym can be made, and
	// what asks for one is dropped.
	Key []byte
	// Place is where the record's address is, as GeoIP knows it; looked up before
	// anything is taken out of the record. nil: it is not known, or no transform
	// of the Vector is Placed, and what asks for it is dropped.
	Place *Place
}

// Place is where an address is.
type Place struct {
	Country string // ISO 3166-1 alpha-2, such as "CN"
	Area    string // ISO 3166-2, the largest subdivision, such as "CN-GD"; "": not known
	// Lat and Lon are those of the city in degrees (WGS 84), where HasLatLon.
	Lat, Lon  float64
	HasLatLon bool
}

// Transformer de-identifies one scalar.
type Transformer interface {
	// Append appends the de-identified form of text to dst and returns it with
	// the kind of scalar that it now is. text is the value itself: the string
	// without its quotes and escapes, or the number as it is spelled. It must
	// not be kept or changed. ok is false when the value does not fit the
	// transform; the caller then drops it, whatever was appended.
	Append(dst, text []byte, kind Kind, p *Params) (out []byte, now Kind, ok bool)
}

// PairTransformer de-identifies the latitude and the longitude of one object
// together. Its Append is used where only one of them is at hand, and must
// refuse.
type PairTransformer interface {
	Transformer
	// AppendPair appends the new latitude to lat and the new longitude to lon,
	// both as decimal numbers in degrees (WGS 84).
	AppendPair(lat, lon []byte, latText, lonText []byte, p *Params) (latOut, lonOut []byte, ok bool)
}

// Keyed is a Transformer that needs Params.Key.
type Keyed interface {
	Transformer
	Keyed()
}

// Placed is a Transformer that needs Params.Place.
type Placed interface {
	Transformer
	Placed()
}

// Action is an operation with, for Transform, what does it.
type Action struct {
	Op Op
	T  Transformer
}

// Stricter returns the stricter of two actions. Two different transforms
// cannot both be honoured, so together they drop.
func Stricter(a, b Action) Action {
	if a.Op == Transform && b.Op == Transform && a.T != b.T {
		return Action{Op: Drop}
	}
	if b.Op > a.Op {
		return b
	}
	return a
}
