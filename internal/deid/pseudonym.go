package deid

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"sync"

	"github.com/consentgate/consentgate/internal/payload"
)

var pseudonymDefinition = definition{
	Doc: Doc{
		Name:    "pseudonym",
		Summary: "Replaces an identifier by one that belongs to this subject, recipient and category alone, in the same shape where it is a UUID, a hex digest, a MAC address or a number.",
		Args: []Arg{
			{Name: "join", Type: String, Summary: "A name. Categories whose pseudonyms give the same name share one space, in which equal identifiers get equal pseudonyms; without it every category is a space of its own."},
		},
		Bare:     true,
		Keyed:    true,
		Examples: []string{"pseudonym", "{pseudonym: {join: device}}"},
	},
	build: func(v values, env Env) (payload.Transformer, error) {
		kind, space := "category", env.Category
		if join, given := v["join"]; given {
			kind, space = "join", join.(string)
		}
		if space == "" {
			return nil, errors.New(kind + " must not be empty")
		}
		// Each part is hashed with its length, so that no two sets of parts
		// run together into the same bytes.
		h := sha256.New()
		for _, part := range []string{"consentgate deid pseudonym v1", env.Recipient, kind, space} {
			var length [8]byte
			binary.BigEndian.PutUint64(length[:], uint64(len(part)))
			h.Write(length[:])
			h.Write([]byte(part))
		}
		return pseudonym{space: [16]byte(h.Sum(nil))}, nil
	},
}

// pseudonym is HMAC-SHA-256 (RFC 2104) under Params.Key, cut to the shape of
// the value. A plain hash of an identifier would be that identifier: all
// phone numbers are hashed in a second. So without a key nothing fits.
//
// The key belongs to one recipient and one subject already. The recipient and
// the category are hashed in nevertheless: the recipient, so that a mistake
// with the keys does not let two partners join what they got; the category,
// since the partner has no claim to learn that, say, a user name is also the
// subject's phone number. Where a policy wants two categories to stay
// joinable, it says so (join).
//
// What is no identifier (empty, all zero, "null", the hash of nothing) does
// not fit: an advertising id of zeros means that there is none, and giving it
// a pseudonym would make one. Booleans and null do not fit either.
type pseudonym struct {
	space [16]byte // which identifiers share their pseudonyms
}

// Keyed marks the transform as one that needs Params.Key.
func (pseudonym) Keyed() {}

// The shapes of identifiers. The byte is part of what is hashed.
const (
	shapeOpaque byte = 's'
	shapeNumber byte = 'n'
	shapeUUID   byte = 'u' // 8-4-4-4-12, RFC 9562
	shapeHex    byte = 'h'
	shapeMAC    byte = 'm' // six octets with ':' or '-', IEEE 802
)

// A mill holds what one pseudonym needs to be made without allocating.
type mill struct {
	hash  hash.Hash
	pad   [sha256.BlockSize]byte
	head  [17]byte // space and shape
	canon [64]byte // the value in its canonical spelling
	sum   [sha256.Size]byte
	hex   [2 * sha256.Size]byte
}

var mills = sync.Pool{New: func() any { return &mill{hash: sha256.New()} }}

func (t pseudonym) Append(dst, text []byte, kind payload.Kind, p *payload.Params) ([]byte, payload.Kind, bool) {
	if p == nil || len(p.Key) == 0 || kind != payload.String && kind != payload.Number {
		return dst, kind, false
	}
	m := mills.Get().(*mill)
	defer m.release()
	shape, canon := m.canonical(text, kind)
	if noIdentifier(shape, canon) {
		return dst, kind, false
	}
	copy(m.head[:], t.space[:])
	m.head[16] = shape
	m.hmac(p.Key, canon)

	switch shape {
	case shapeNumber:
		// 15 digits, the first not 0: enough to be unique, and every reader
		// that holds numbers in doubles still sees all of them.
		n := 1e14 + binary.BigEndian.Uint64(m.sum[:])%9e14
		return appendDecimal(dst, int64(n), 0), kind, true
	case shapeUUID:
		if standardUUID(canon) {
			// It looks like a random UUID (version 4), whichever version the
			// identifier had: versions 1, 6 and 7 would promise a time.
			m.sum[6] = m.sum[6]&0x0f | 0x40
			m.sum[8] = m.sum[8]&0x3f | 0x80
		}
	case shapeMAC:
		// Locally administered and unicast, so that it can never be the
		// address of a device that exists.
		m.sum[0] = m.sum[0]&^1 | 2
	case shapeOpaque:
		return base64.RawURLEncoding.AppendEncode(dst, m.sum[:16]), kind, true
	}
	hex.Encode(m.hex[:], m.sum[:])
	return appendLike(dst, text, m.hex[:]), kind, true
}

func (m *mill) release() {
	clear(m.pad[:]) // it holds the key
	clear(m.canon[:])
	m.hash.Reset()
	mills.Put(m)
}

// hmac leaves the HMAC of head and msg in m.sum. It is written out, since
// crypto/hmac cannot be given a new key and would be allocated for each.
func (m *mill) hmac(key, msg []byte) {
	clear(m.pad[:])
	if len(key) > len(m.pad) {
		digest := sha256.Sum256(key)
		copy(m.pad[:], digest[:])
	} else {
		copy(m.pad[:], key)
	}
	for i := range m.pad {
		m.pad[i] ^= 0x36
	}
	m.hash.Reset()
	m.hash.Write(m.pad[:])
	m.hash.Write(m.head[:])
	m.hash.Write(msg)
	inner := m.hash.Sum(m.sum[:0])
	for i := range m.pad {
		m.pad[i] ^= 0x36 ^ 0x5c
	}
	m.hash.Reset()
	m.hash.Write(m.pad[:])
	m.hash.Write(inner)
	m.hash.Sum(m.sum[:0])
}

// canonical says which shape text has and spells it so that the spellings of
// one identifier are equal: hex digits in lower case, without the separators
// that the shape implies, whole numbers without point and exponent.
func (m *mill) canonical(text []byte, kind payload.Kind) (byte, []byte) {
	if kind == payload.Number {
		if n, exact, ok := parseDecimal(text, 0); ok && exact {
			return shapeNumber, appendDecimal(m.canon[:0], n, 0)
		}
		return shapeNumber, text
	}
	shape, separator := shapeHex, byte(0)
	switch len(text) {
	case 16, 32, 40, 64:
	case 36:
		shape, separator = shapeUUID, '-'
	case 17:
		shape, separator = shapeMAC, text[2]
		if separator != '-' && separator != ':' {
			return shapeOpaque, text
		}
	default:
		return shapeOpaque, text
	}
	canon := m.canon[:0]
	for i, c := range text {
		if separated(shape, i) {
			if c != separator {
				return shapeOpaque, text
			}
			continue
		}
		if c >= 'A' && c <= 'F' {
			c += 'a' - 'A'
		}
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return shapeOpaque, text
		}
		canon = append(canon, c)
	}
	return shape, canon
}

// separated says whether a shape has a separator at byte i.
func separated(shape byte, i int) bool {
	switch shape {
	case shapeUUID:
		return i == 8 || i == 13 || i == 18 || i == 23
	case shapeMAC:
		return i%3 == 2
	}
	return false
}

// standardUUID says whether 32 hex digits carry a version (1 to 8) and the
// variant of RFC 9562, section 4.
func standardUUID(canon []byte) bool {
	version, variant := canon[12], canon[16]
	return version >= '1' && version <= '8' &&
		(variant == '8' || variant == '9' || variant == 'a' || variant == 'b')
}

// noIdentifier says whether a value stands for having none.
func noIdentifier(shape byte, canon []byte) bool {
	switch string(canon) {
	case "", "0", "-1", "null", "NULL", "(null)", "nil", "none", "unknown", "undefined",
		"9774d56d682e549c", // the Android id that many devices shared
		"020000000000",     // the MAC address that phones report instead of theirs
		"d41d8cd98f00b204e9800998ecf8427e",
		"da39a3ee5e6b4b0d3255bfef95601890afd80709",
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855":
		// The last three are MD5, SHA-1 and SHA-256 of the empty string.
		return true
	}
	if shape == shapeNumber || shape == shapeOpaque && canon[0] != '0' {
		return false
	}
	for _, c := range canon {
		if c != canon[0] {
			return false
		}
	}
	return true
}

// appendLike appends as many of the lower case hex digits as model has, with
// model's separators, and in upper case where all of model's letters are.
func appendLike(dst, model, digits []byte) []byte {
	upper := false
	for _, c := range model {
		if c >= 'a' && c <= 'f' {
			upper = false
			break
		}
		upper = upper || c >= 'A' && c <= 'F'
	}
	next := 0
	for _, c := range model {
		if c != '-' && c != ':' {
			c = digits[next]
			next++
			if upper && c >= 'a' {
				c -= 'a' - 'A'
			}
		}
		dst = append(dst, c)
	}
	return dst
}
